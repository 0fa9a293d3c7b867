// The inner loops, one table an instruction set. All tables give the same numbers, bit for bit.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace yolort {

/// Where a pixel's red, green and blue stand in a source row, and how far apart pixels are.
struct ChannelOrder {
  int step;     ///< values a pixel
  int rgb[3];   ///< index of each
};

/// Fixed point of the bilinear resize. Vertical: grey levels as Q7 int16, weight Q15. Horizontal: weights Q14, so the
/// sum is Q21 and fits int32; it is rounded to a whole grey level, as OpenCV's 8-bit INTER_LINEAR does.
inline constexpr int row_bits = 7;
inline constexpr int weight_bits = 14;

/// One output column: its left source value in the row buffer and the weights of left and right, packed low | high << 16.
struct Columns {
  std::vector<std::int32_t> offsets;
  std::vector<std::uint32_t> weights;
};

/// Values that may be read (but do not count) past the end of a row buffer.
inline constexpr int row_padding = 16;

struct Kernels {
  const char* name;

  /// out[i] = a[i] + (b[i] - a[i]) * weight, weight Q15.
  void (*blend_rows)(const std::uint8_t* a, const std::uint8_t* b, std::int16_t weight, std::size_t n,
                     std::int16_t* out);

  /// One row of the network input: red, green and blue planes, grey level / 255, as f32 or as IEEE f16 bits.
  void (*resample_f32)(const std::int16_t* row, const Columns& columns, std::size_t n, const ChannelOrder& order,
                       float* const planes[3]);
  void (*resample_f16)(const std::int16_t* row, const Columns& columns, std::size_t n, const ChannelOrder& order,
                       std::uint16_t* const planes[3]);

  /// best[i] = the largest of `rows` values that stand `stride` apart, from values + i. Returns false where any value
  /// is NaN or infinite.
  bool (*column_max)(const float* values, std::ptrdiff_t stride, std::size_t rows, std::size_t n, float* best);
};

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

/// The best table; $YOLORT_SIMD forces one by name where the CPU has it.
const Kernels& kernels();

/// IEEE half of a float, round to nearest even.
std::uint16_t float_to_half(float value);
float half_to_float(std::uint16_t bits);

}  // namespace yolort
