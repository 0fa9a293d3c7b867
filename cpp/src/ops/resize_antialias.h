// Converts pixels to a classifier's input: resizes with antialiasing, crops, scales and casts.
#pragma once

#include <cstdint>
#include <vector>

#include "core/engine.h"
#include "model/model.h"
#include "ops/simd/kernels.h"
#include "yolort/yolort.h"

namespace yolort {

/// One resized dimension: `source` pixels become `target`, of which `count` are kept, beginning with `first`.
struct ResizedSide {
  int source = 0, target = 0, first = 0, count = 0;
  bool operator==(const ResizedSide& other) const {
    return source == other.source && target == other.target && first == other.first && count == other.count;
  }
};

/// The weights of the source pixels of each kept pixel: the triangle of Pillow's BILINEAR (libImaging/Resample.c,
/// precompute_coeffs), which covers all source pixels that the target pixel stands for. Q22, each
/// rounded on its own, as Pillow does.
struct Windows {
  std::size_t taps = 0;              ///< weights of each, a multiple of 4; the last ones may be 0
  std::vector<std::int32_t> first;   ///< source pixel of the first weight
  std::vector<std::int32_t> counts;  ///< number of source pixels with a weight
  std::vector<SplitWeight> weights;
};
Windows antialiasing_windows(const ResizedSide& side);

/// Resized sides of an image for a classifier, as in torchvision's Resize and CenterCrop. For a square input, the
/// shorter side is resized to it and the center is kept; for other inputs, and if `stretch`, both sides are resized.
struct ClassifierGeometry {
  ResizedSide across, down;
  static ClassifierGeometry fit(int source_width, int source_height, int width, int height, bool stretch);
};

class AntialiasedResize {
 public:
  explicit AntialiasedResize(const Kernels& kernels = yolort::kernels()) : kernels_(&kernels) {}

  /// Writes image `index` of the batch in `input` (batch x channels x height x width). Gray levels equal Pillow's
  /// (within 1 for inputs that are not square): each row is resized and rounded, then each column. The
  /// image has passed check_channels().
  void operator()(const Image& image, const Tensor& input, int index, const InputFormat& format);

 private:
  void prepare(const ClassifierGeometry& geometry, int step);
  void resize_rows(const Image& image, const ChannelOrder& order);

  const Kernels* kernels_;
  ClassifierGeometry geometry_;
  int step_ = 0;
  Windows across_, down_;
  int left_ = 0, columns_ = 0;         ///< source columns that are read
  int top_ = 0, height_ = 0;           ///< source rows that are read
  std::vector<std::uint8_t> row_;      ///< one source row, with slack after it
  std::vector<std::uint8_t> resized_;  ///< all source rows, resized horizontally; three planes per row
  std::vector<const std::uint8_t*> rows_;
  std::vector<float> values_;
  std::vector<std::uint8_t> gray_;
};

}  // namespace yolort
