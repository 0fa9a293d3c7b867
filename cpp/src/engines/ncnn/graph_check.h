#pragma once

#include <array>
#include <filesystem>

namespace yolort {

/// Refuses a .param whose layers do not fit together, because ncnn trusts it: a map smaller than a layer expects, or a
/// missing input, makes it read and write outside its memory. The shapes of all blobs are computed from `input`
/// (channels, height, width), and the types and sizes of the weights are read from the .bin. Only the layers of YOLO
/// detectors are known. Throws ModelError that names the layer and what is wrong with it.
void check_ncnn_graph(const std::filesystem::path& param, const std::filesystem::path& bin,
                      const std::array<int, 3>& input);

}  // namespace yolort
