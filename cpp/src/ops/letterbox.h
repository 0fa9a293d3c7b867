// Pixels to network input in one pass: resize, pad, BGR to RGB, scale and cast, straight into the engine's buffer.
#pragma once

#include <cstdint>
#include <vector>

#include "core/engine.h"
#include "ops/coordinates.h"
#include "ops/simd/kernels.h"
#include "yolort/yolort.h"

namespace yolort {

const ChannelOrder& order_of(PixelFormat format);

/// Throws std::invalid_argument for pixels, sides or strides that cannot be an image.
void check_image(const Image& image);

class Letterbox {
 public:
  explicit Letterbox(const Kernels& kernels = yolort::kernels()) : kernels_(&kernels) {}

  /// Writes image `index` of the batch in `input` (batch x 3 x height x width). With `keep_padding` only the image is
  /// written: the caller knows that the padding of the same geometry is already there.
  void operator()(const Image& image, const Geometry& geometry, const Tensor& input, int index, bool keep_padding);

 private:
  void prepare(const Image& image, const Geometry& geometry);
  RowPair row_pair(const Image& image, std::ptrdiff_t stride, int y) const;

  const Kernels* kernels_;
  Geometry geometry_;  ///< of the tables below
  int step_ = 0;
  Columns columns_;
  std::vector<int> first_row_;                ///< upper source row of each output row; may be -1, meaning 0
  std::vector<std::int16_t> row_weights_[2];  ///< Q11
  /// The last columns of the source row would be read past its end: they read a copy of its last bytes instead.
  std::size_t body_ = 0;          ///< the number of other columns; they are the last ones of a mirrored row
  std::int32_t tail_offset_ = 0;  ///< where the copy starts in the row
  std::vector<std::uint8_t> tail_[2];
};

}  // namespace yolort
