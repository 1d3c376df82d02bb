"""PyTorch: the trained network itself."""
