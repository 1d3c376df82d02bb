// gst-nvinfer's parser of a bundle's labels: int32 train ids, H x W, become the class map as they are.
#include <cstring>
#include <iostream>
#include <vector>

#include "nvdsinfer_custom_impl.h"

extern "C" bool ArtoolkitParseLabels(
    std::vector<NvDsInferLayerInfo> const& layers, NvDsInferNetworkInfo const& network,
    float /* threshold */, unsigned int /* classes */, int* class_map, float*& probabilities) {
  const std::size_t pixels = std::size_t{network.width} * network.height;
  for (const auto& layer : layers) {
    if (layer.isInput || layer.layerName == nullptr || std::strcmp(layer.layerName, "labels") != 0) continue;
    if (layer.dataType != INT32 || layer.inferDims.numElements != pixels) {
      std::cerr << "labels are not one int32 for each pixel of the network's input\n";
      return false;
    }
    std::memcpy(class_map, layer.buffer, pixels * sizeof(int));
    probabilities = nullptr;
    return true;
  }
  std::cerr << "the engine has no output called labels\n";
  return false;
}

CHECK_CUSTOM_SEM_SEGMENTATION_PARSE_FUNC_PROTOTYPE(ArtoolkitParseLabels);
