// As much of TensorRT's C++ interface as the loader uses, without a GPU: the labels are the bytes of
// red modulo 4 of an image of 1 x 4 x 6 x 3. A plan is any file that begins with "plan".
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <string>

#include <cuda_runtime_api.h>

namespace nvinfer1 {
enum class DataType : std::int32_t { kFLOAT = 0, kHALF = 1, kINT8 = 2, kINT32 = 3, kBOOL = 4, kUINT8 = 5 };
enum class TensorIOMode : std::int32_t { kNONE = 0, kINPUT = 1, kOUTPUT = 2 };
enum class ProfilingVerbosity : std::int32_t { kLAYER_NAMES_ONLY = 0, kNONE = 1, kDETAILED = 2 };
struct Dims64 {
  std::int32_t nbDims;
  std::int64_t d[8];
};
using Dims = Dims64;

class ILogger {
 public:
  enum class Severity : std::int32_t { kINTERNAL_ERROR = 0, kERROR = 1, kWARNING = 2, kINFO = 3, kVERBOSE = 4 };
  virtual void log(Severity severity, char const* message) noexcept = 0;
  virtual ~ILogger() = default;
};

class IExecutionContext {
 public:
  bool setTensorAddress(char const* name, void* data) noexcept { return (places_[name] = data) != nullptr; }
  bool setNvtxVerbosity(ProfilingVerbosity verbosity) noexcept {
    return quiet_ = verbosity == ProfilingVerbosity::kNONE;
  }
  bool enqueueV3(cudaStream_t stream) noexcept {
    auto* image = static_cast<unsigned char*>(places_["image"]);
    auto* labels = static_cast<unsigned char*>(places_["labels"]);
    for (int i = 0; i < 24; ++i) labels[i] = image[3 * i] % 4;
    return quiet_ && stream != nullptr;
  }

 private:
  std::map<std::string, void*> places_;
  bool quiet_ = false;
};

class ICudaEngine {
 public:
  IExecutionContext* createExecutionContext() noexcept { return new IExecutionContext; }
  std::int32_t getNbIOTensors() const noexcept { return 2; }
  char const* getIOTensorName(std::int32_t index) const noexcept { return index == 0 ? "image" : "labels"; }
  Dims getTensorShape(char const* name) const noexcept {
    return std::string(name) == "image" ? Dims{4, {1, 4, 6, 3}} : Dims{3, {1, 4, 6}};
  }
  DataType getTensorDataType(char const*) const noexcept { return DataType::kUINT8; }
  TensorIOMode getTensorIOMode(char const* name) const noexcept {
    return std::string(name) == "image" ? TensorIOMode::kINPUT : TensorIOMode::kOUTPUT;
  }
};

class IRuntime {
 public:
  explicit IRuntime(ILogger& logger) : logger_(logger) {}
  ICudaEngine* deserializeCudaEngine(void const* blob, std::size_t size) noexcept {
    if (size > 3 && std::memcmp(blob, "plan", 4) == 0) return new ICudaEngine;
    logger_.log(ILogger::Severity::kERROR, "magic tag does not match");
    return nullptr;
  }

 private:
  ILogger& logger_;
};

inline IRuntime* createInferRuntime(ILogger& logger) noexcept { return new IRuntime(logger); }
}  // namespace nvinfer1
