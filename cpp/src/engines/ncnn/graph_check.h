#pragma once

#include <filesystem>

namespace yolort {

/// Refuses a .param whose layers do not fit together. ncnn trusts it: a map smaller than a layer expects, or a missing
/// input, makes it read and write outside its memory. The shapes of all blobs are worked out from an input of 3 x
/// height x width, and the types and sizes of the weights from the .bin. Only the layers that YOLO detectors are made
/// of are known. Throws ModelError with the layer and what is wrong with it.
void check_ncnn_graph(const std::filesystem::path& param, const std::filesystem::path& bin, int height, int width);

}  // namespace yolort
