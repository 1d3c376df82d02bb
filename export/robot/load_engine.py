"""python load_engine.py PLAN < images > labels: an engine by tensorrt and cuda-bindings alone."""

import sys
from pathlib import Path

import numpy as np
import tensorrt as trt
from cuda.bindings import runtime as cuda


def call(error, *values):
    assert error == cuda.cudaError_t.cudaSuccess, error
    return values[0] if values else None


runtime = trt.Runtime(trt.Logger(trt.Logger.WARNING))
engine = runtime.deserialize_cuda_engine(Path(sys.argv[1]).read_bytes())
context = engine.create_execution_context()
context.nvtx_verbosity = trt.ProfilingVerbosity.NONE  # details for the inspector cost time
stream = call(*cuda.cudaStreamCreateWithFlags(cuda.cudaStreamNonBlocking))
kind, host, device = cuda.cudaMemcpyKind, {}, {}
for name in (engine.get_tensor_name(i) for i in range(engine.num_io_tensors)):
    dtype = trt.nptype(engine.get_tensor_dtype(name))
    host[name] = np.empty(tuple(engine.get_tensor_shape(name)), dtype)
    device[name] = call(*cuda.cudaMalloc(host[name].nbytes))
    context.set_tensor_address(name, device[name])
image, labels = host["image"], host["labels"]
while content := sys.stdin.buffer.read(image.nbytes):
    image[...] = np.frombuffer(content, image.dtype).reshape(image.shape)
    up, down = kind.cudaMemcpyHostToDevice, kind.cudaMemcpyDeviceToHost
    call(*cuda.cudaMemcpyAsync(device["image"], image.ctypes.data, image.nbytes, up, stream))
    assert context.execute_async_v3(stream)
    call(*cuda.cudaMemcpyAsync(labels.ctypes.data, device["labels"], labels.nbytes, down, stream))
    call(*cuda.cudaStreamSynchronize(stream))
    sys.stdout.buffer.write(labels.tobytes())
