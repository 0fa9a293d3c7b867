#pragma once

#include <array>
#include <filesystem>

namespace yolort {

/// Refuses a .param whose layers do not fit together. ncnn does not check this: a missing input, or a map smaller than
/// expected, makes it access memory out of bounds. The shapes of all blobs are computed from `input`
/// (channels, height, width), and the types and sizes of the weights are read from the .bin. Only the layers of YOLO
/// detectors are known. Throws ModelError with the layer and the cause.
void check_ncnn_graph(const std::filesystem::path& param, const std::filesystem::path& bin,
                      const std::array<int, 3>& input);

}  // namespace yolort
