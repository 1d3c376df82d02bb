"""From a checkpoint to what a device runs: the deployed graph, its identity, its precision.

Read `graph.py` first, then `onnx.py`. `identity.py` needs onnx but not torch.
"""
