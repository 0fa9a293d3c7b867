// INT8 maps as blobs of ncnn.
//
// A map is a two-dimensional Mat whose elements are whole pixels with all channels, so that no ncnn layer can mistake
// them for numbers. Each row begins and ends with a pixel of the map's zero value, so that a 3 x 3 kernel needs no
// special case at the left and right border.
#pragma once

#include <mat.h>
#include <modelbin.h>
#include <option.h>
#include <paramdict.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "ops/simd/int8.h"
#include "platform/thread_pool.h"

namespace yolort::ncnn_int8 {

/// Channels of a map that a layer reads.
struct Range {
  int offset, channels;
  bool doubled;  ///< the map has half the rows and columns; each pixel is read twice
};

/// The channel ranges of a layer's inputs: array parameter 10, three numbers per input.
std::vector<Range> read_ranges(const ncnn::ParamDict& parameters);

class Map {
 public:
  explicit Map(const ncnn::Mat& mat)
      : data_(static_cast<std::uint8_t*>(mat.data)),
        row_(mat.w * std::ptrdiff_t(mat.elemsize)),
        width_(mat.w - 2),
        height_(mat.h),
        channels_(static_cast<int>(mat.elemsize)) {}

  /// Allocates `mat` as a map; returns false if out of memory.
  static bool create(ncnn::Mat& mat, int channels, int height, int width, const ncnn::Option& options) {
    mat.create(width + 2, height, static_cast<std::size_t>(channels), 1, options.blob_allocator);
    return !mat.empty();
  }

  int width() const { return width_; }
  int height() const { return height_; }
  int channels() const { return channels_; }

  /// Column -1 and `width` are the border.
  std::uint8_t* pixel(int y, int x) const { return data_ + y * row_ + (x + 1) * std::ptrdiff_t{channels_}; }

  void fill_border(int y, int zero) const {
    std::memset(pixel(y, -1), zero, static_cast<std::size_t>(channels_));
    std::memset(pixel(y, width_), zero, static_cast<std::size_t>(channels_));
  }

 private:
  std::uint8_t* data_;
  std::ptrdiff_t row_;
  int width_, height_, channels_;
};

/// Calls rows(first, end) for parts of `height` rows on the threads of `options`. The parts are small, so that the
/// threads finish at about the same time.
template <class Rows>
void for_rows(int height, const ncnn::Option& options, const Rows& rows) {
  const int pieces = options.num_threads > 1 ? 4 * options.num_threads : 1;
  const int step = std::max(1, (height + pieces - 1) / pieces);
  const auto count = static_cast<std::size_t>((height + step - 1) / step);
  parallel_for(count, static_cast<std::size_t>(std::max(1, options.num_threads)), [&](std::size_t piece) {
    const int first = static_cast<int>(piece) * step;
    rows(first, std::min(height, first + step));
  });
}

}  // namespace yolort::ncnn_int8
