// An engine of a bundle in C++17: TensorRT 10 or 11 and the CUDA runtime, nothing else.
//
//     artoolkit::Engine engine("bundle/engines/NAME.plan");
//     engine.infer(image, labels);   // host memory: what engine.input() and output() describe
//
// Deserialising a plan runs native code: let `artoolkit verify BUNDLE` check its hash first. One
// thread at a time may call infer.
#pragma once

#include <NvInfer.h>
#include <cuda_runtime_api.h>

#include <cstdint>
#include <fstream>
#include <iostream>
#include <iterator>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace artoolkit {

inline void check(cudaError_t error, const char* what) {
  if (error != cudaSuccess) throw std::runtime_error(std::string(what) + ": " + cudaGetErrorString(error));
}

// An input or output: its place in device memory, and how many bytes it has.
struct Tensor {
  std::string name;
  std::vector<std::int64_t> shape;
  nvinfer1::DataType type;
  std::size_t bytes = 1;
  void* device = nullptr;
};

class Engine {
 public:
  explicit Engine(const std::string& plan) {
    std::ifstream file(plan, std::ios::binary);
    const std::vector<char> content{std::istreambuf_iterator<char>(file), {}};
    if (content.empty()) throw std::runtime_error("cannot read " + plan);
    runtime_.reset(nvinfer1::createInferRuntime(logger_));
    if (!runtime_) throw std::runtime_error("TensorRT does not start: is there a driver?");
    engine_.reset(runtime_->deserializeCudaEngine(content.data(), content.size()));
    if (!engine_) throw std::runtime_error(plan + " is not of this TensorRT and GPU: build it here");
    context_.reset(engine_->createExecutionContext());
    if (!context_) throw std::runtime_error(plan + " has no room on the GPU");
    // Engines are built with details for the inspector, which would slow enqueueV3 down.
    context_->setNvtxVerbosity(nvinfer1::ProfilingVerbosity::kNONE);
    check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "stream");
    for (std::int32_t i = 0; i < engine_->getNbIOTensors(); ++i) add(engine_->getIOTensorName(i));
    if (input_.device == nullptr || output_.device == nullptr) {
      throw std::runtime_error(plan + " has not one input and one output");
    }
  }
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;
  ~Engine() {
    cudaFree(input_.device);
    cudaFree(output_.device);
    if (stream_ != nullptr) cudaStreamDestroy(stream_);
  }

  const Tensor& input() const { return input_; }
  const Tensor& output() const { return output_; }

  // From input().bytes to output().bytes; page-locked memory (cudaMallocHost) is copied faster.
  void infer(const void* image, void* labels) {
    check(cudaMemcpyAsync(input_.device, image, input_.bytes, cudaMemcpyHostToDevice, stream_), "upload");
    if (!context_->enqueueV3(stream_)) throw std::runtime_error("the engine failed to run");
    check(cudaMemcpyAsync(labels, output_.device, output_.bytes, cudaMemcpyDeviceToHost, stream_), "download");
    check(cudaStreamSynchronize(stream_), "inference");
  }

 private:
  struct Logger : nvinfer1::ILogger {
    void log(Severity severity, const char* message) noexcept override {
      if (severity <= Severity::kWARNING) std::cerr << message << '\n';
    }
  };

  void add(const char* name) {
    Tensor tensor{name, {}, engine_->getTensorDataType(name)};
    const auto dims = engine_->getTensorShape(name);
    tensor.shape.assign(dims.d, dims.d + dims.nbDims);
    const bool wide = tensor.type == nvinfer1::DataType::kFLOAT || tensor.type == nvinfer1::DataType::kINT32;
    tensor.bytes = wide ? 4 : 1;  // a bundle's are uint8, int32 or float32
    for (const auto size : tensor.shape) tensor.bytes *= static_cast<std::size_t>(size);
    check(cudaMalloc(&tensor.device, tensor.bytes), name);
    context_->setTensorAddress(name, tensor.device);
    const bool in = engine_->getTensorIOMode(name) == nvinfer1::TensorIOMode::kINPUT;
    (in ? input_ : output_) = tensor;
  }

  Logger logger_;
  // Destroyed in the reverse order: the context before its engine, the engine before its runtime.
  std::unique_ptr<nvinfer1::IRuntime> runtime_;
  std::unique_ptr<nvinfer1::ICudaEngine> engine_;
  std::unique_ptr<nvinfer1::IExecutionContext> context_;
  cudaStream_t stream_ = nullptr;
  Tensor input_, output_;
};

}  // namespace artoolkit
