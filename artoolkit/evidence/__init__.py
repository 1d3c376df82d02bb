"""Files that prove: seal, bundle, records, verdict and signature. Needs neither torch nor onnx.

Read `seal.py` first, then `bundle.py`.
"""
