"""ONNX graphs as data: reading a file, comparing two, counting bytes. Needs onnx, not torch.

Read `identity.py` first.
"""
