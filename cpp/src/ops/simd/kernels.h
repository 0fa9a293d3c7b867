// The inner loops, one table for each instruction set. All tables give bit-identical results.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace yolort {

/// The index of red, green and blue in a pixel, or of any three channels, and the distance between pixels.
struct ChannelOrder {
  int step;    ///< values per pixel; the scalar table takes any number, the others max_step
  int rgb[3];  ///< index of each
};

/// Output columns: the offset of the left source pixel of each in its row, in bytes, and the Q11 weights of left and
/// right pixel, packed left | right << 16.
struct Columns {
  std::vector<std::int32_t> offsets;
  std::vector<std::uint32_t> weights;
};

/// The two source rows of an output row and their Q11 weights. `row_slack` bytes after every offset may be read, but do
/// not affect the result.
struct RowPair {
  const std::uint8_t* rows[2];
  std::int16_t weights[2];
};
inline constexpr int row_slack = 16;
inline constexpr int max_step = row_slack / 2;

/// Fixed point of OpenCV's INTER_LINEAR on 8-bit pixels (imgproc/src/resize.cpp: HResizeLinear, VResizeLinear), which
/// the models were trained with: each row sum is cut to Q7, each weighted row to Q2.
inline constexpr int weight_bits = 11;

/// Positions along one side of a mask, as samples of a row of `values`: the first of three neighboring values, which is
/// monotonic over the positions, and their weights. `sample_slack` values after the row may be read, but do not affect
/// the result.
struct Samples {
  std::vector<std::int32_t> first;
  std::vector<float> weights[3];
};
inline constexpr std::size_t sample_slack = 16;

/// A weight in Q22, as in Pillow (libImaging/Resample.c, PRECISION_BITS), split into two halves of 11 bits, so that
/// products with 8-bit pixels can be added in 32 bits.
struct SplitWeight {
  std::int16_t high, low;
};

struct Kernels {
  const char* name;

  /// One row of the network input: red, green and blue planes, grey level / 255, as f32 or as IEEE f16 bits. Columns
  /// `first` to `first + n` are written to planes[c][0] onwards; planes may be identical if their channels are.
  void (*resample_f32)(const RowPair& pair, const Columns& columns, std::size_t first, std::size_t n,
                       const ChannelOrder& order, float* const planes[3]);
  void (*resample_f16)(const RowPair& pair, const Columns& columns, std::size_t first, std::size_t n,
                       const ChannelOrder& order, std::uint16_t* const planes[3]);

  /// best[i] = the largest of `rows` values, `stride` apart, starting at values + i. Returns false if any value is NaN
  /// or infinite.
  bool (*column_max)(const float* values, std::ptrdiff_t stride, std::size_t rows, std::size_t n, float* best);

  /// sums[i] = the sum of `rows` values, `stride` apart, starting at values + i, each times its weight; in order.
  void (*weighted_sum)(const float* values, std::ptrdiff_t stride, const float* weights, std::size_t rows,
                       std::size_t n, float* sums);

  /// Bit i of `bits`, lowest first, = whether sample `first` + i of `values` is above 0. Writes (n + 7) / 8 bytes,
  /// whose spare bits are 0.
  void (*sample_bits)(const float* values, const Samples& samples, std::size_t first, std::size_t n,
                      std::uint8_t* bits);

  /// values[i] = the sum of rows[r][i] * the weight of row r, Q22, rounded to a whole grey level, / 255. `count` is
  /// even.
  void (*weighted_rows)(const std::uint8_t* const* rows, const SplitWeight* weights, std::size_t count, std::size_t n,
                        float* values);

  /// planes[c][i] = the sum of the pixels of window i of `row`, channel c of each, times their weights, Q22, rounded to
  /// a whole grey level. `weights` holds 4 * `quads` for each window; row_slack bytes after the last window may be
  /// read. Pixels have at most max_window_step values, except for the scalar table.
  void (*weighted_windows)(const std::uint8_t* row, const std::int32_t* first, const SplitWeight* weights,
                           std::size_t quads, std::size_t n, const ChannelOrder& order, std::uint8_t* const planes[3]);
};
inline constexpr int max_window_step = 4;

extern const Kernels scalar_kernels;
#ifdef YOLORT_X86
extern const Kernels avx2_kernels;
extern const Kernels avx512_kernels;
#endif
#ifdef YOLORT_NEON
extern const Kernels neon_kernels;
#endif

/// The tables this CPU can run, best first.
std::vector<const Kernels*> available_kernels();

/// The best table; $YOLORT_SIMD forces one by name if the CPU has it.
const Kernels& kernels();

}  // namespace yolort
