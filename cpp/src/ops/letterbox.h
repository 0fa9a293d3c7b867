// Converts pixels to network input in one pass: resizes, pads, converts BGR to RGB, scales and casts, directly into the
// engine's buffer.
#pragma once

#include <cstdint>
#include <vector>

#include "core/engine.h"
#include "ops/coordinates.h"
#include "ops/simd/kernels.h"
#include "yolort/yolort.h"

namespace yolort {

const ChannelOrder& order_of(PixelFormat format);

/// Values of each pixel.
int channels_of(const Image& image);

/// Throws std::invalid_argument for pixels, sides or strides that cannot be an image.
void check_image(const Image& image);

/// Throws std::invalid_argument if an image does not fit a network with this many channels: networks with 1 or 3
/// channels accept gray, color and color with alpha; others need their own number of channels.
void check_channels(const Image& image, int channels);

/// Gray levels as OpenCV's BGR2GRAY computes them (imgproc/src/color_rgb.simd.hpp), packed rows.
void to_gray(const Image& image, std::vector<std::uint8_t>& gray);

/// Up to three channels of a network, written together; if there are fewer, the last one is repeated.
struct ChannelGroup {
  ChannelOrder order;
  int planes[3];
};
/// Which image channel each network channel is read from.
std::vector<ChannelGroup> channel_groups(const Image& image, int channels, const InputFormat& format);

/// A channel of the network: grey level / 255 * scale + offset.
struct Affine {
  float scale, offset;
};
/// Per channel; empty: grey level / 255.
std::vector<Affine> affine_of(int channels, const InputFormat& format);

class Letterbox {
 public:
  explicit Letterbox(const Kernels& kernels = yolort::kernels()) : kernels_(&kernels) {}

  /// Writes image `index` of the batch in `input` (batch x channels x height x width). With `keep_padding` only the
  /// image is written: the caller knows that the padding of the same geometry is already there. The image has passed
  /// check_channels().
  void operator()(const Image& image, const Geometry& geometry, const Tensor& input, int index, bool keep_padding,
                  const InputFormat& format = {});

 private:
  void prepare(const Image& image, const Geometry& geometry, int step);
  template <class T, class Resample>
  void write(const Image& image, const Geometry& geometry, const Tensor& input, T* base, bool keep_padding,
             Resample resample);
  RowPair row_pair(const Image& image, std::ptrdiff_t stride, int y) const;

  const Kernels* kernels_;
  Geometry geometry_;  ///< size of the tables below
  int step_ = 0;
  Columns columns_;
  std::vector<int> first_row_;                ///< upper source row of each output row; may be -1, meaning 0
  std::vector<std::int16_t> row_weights_[2];  ///< Q11
  /// The last columns read a copy of the last bytes of the source row, to avoid over-reads.
  std::size_t body_ = 0;          ///< number of columns that read the row itself; the last ones if mirrored
  std::int32_t tail_offset_ = 0;  ///< first column of the copy
  std::vector<std::uint8_t> tail_[2];
  std::vector<ChannelGroup> groups_;
  std::vector<Affine> affine_;
  std::vector<std::uint8_t> gray_;
};

}  // namespace yolort
