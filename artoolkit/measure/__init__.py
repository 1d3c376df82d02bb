"""Measurements of a pair of networks on one machine, and the verdict over them.

Read first: `verdict` (what an answer is), then `compare` (all checks in order), then one file a
question: `latency` and `latency_check`, `memory`, `quality`, `parity`. Nothing here needs torch.
"""
