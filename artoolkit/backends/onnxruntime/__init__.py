"""ONNX Runtime: runs everywhere, on the CPU by default."""
