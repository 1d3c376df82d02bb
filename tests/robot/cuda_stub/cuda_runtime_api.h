// As much of CUDA's runtime as the loader uses, in host memory.
#pragma once
#include <cstddef>
#include <cstdlib>
#include <cstring>

typedef enum cudaError { cudaSuccess = 0, cudaErrorMemoryAllocation = 2 } cudaError_t;
typedef struct CUstream_st* cudaStream_t;
enum cudaMemcpyKind { cudaMemcpyHostToDevice = 1, cudaMemcpyDeviceToHost = 2 };
constexpr unsigned int cudaStreamNonBlocking = 1;

inline const char* cudaGetErrorString(cudaError_t) { return "out of memory"; }
inline cudaError_t cudaMalloc(void** place, std::size_t size) {
  return (*place = std::malloc(size)) ? cudaSuccess : cudaErrorMemoryAllocation;
}
inline cudaError_t cudaFree(void* place) { return std::free(place), cudaSuccess; }
inline cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned int) {
  return *stream = reinterpret_cast<cudaStream_t>(1), cudaSuccess;
}
inline cudaError_t cudaStreamDestroy(cudaStream_t) { return cudaSuccess; }
inline cudaError_t cudaStreamSynchronize(cudaStream_t) { return cudaSuccess; }
inline cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t size, cudaMemcpyKind, cudaStream_t) {
  return std::memcpy(to, from, size), cudaSuccess;
}
