"""TensorRT and TensorRT for RTX: engines, their sidecars, and the proofs of equal programs."""
