// As much of DeepStream's nvdsinfer_custom_impl.h and nvdsinfer.h as the parser of labels uses.
#pragma once
#include <vector>

typedef enum { FLOAT = 0, HALF = 1, INT8 = 2, INT32 = 3 } NvDsInferDataType;
typedef struct {
  unsigned int numDims;
  unsigned int d[8];
  unsigned int numElements;
} NvDsInferDims;
typedef struct {
  NvDsInferDataType dataType;
  NvDsInferDims inferDims;
  int bindingIndex;
  const char* layerName;
  void* buffer;
  int isInput;
} NvDsInferLayerInfo;
typedef struct {
  unsigned int width, height, channels;
} NvDsInferNetworkInfo;

typedef bool (*NvDsInferSemSegmentationParseCustomFunc)(
    std::vector<NvDsInferLayerInfo> const&, NvDsInferNetworkInfo const&, float, unsigned int, int*, float*&);
#define CHECK_CUSTOM_SEM_SEGMENTATION_PARSE_FUNC_PROTOTYPE(function) \
  [[maybe_unused]] static NvDsInferSemSegmentationParseCustomFunc check_##function = function
