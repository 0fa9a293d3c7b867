// The inner loops of INT8 layers, one table for each instruction set. All tables give bit-identical results.
//
// A map holds unsigned bytes, with the channels of a pixel contiguous: a value is (byte - zero) * step. Weights are
// signed. The bias includes the contribution of the zero to a sum, so the loops multiply unmodified bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace yolort {

/// The contribution of neighboring pixels of a tile to their sums: `quads` times four bytes each, pixels `stride` bytes
/// apart.
struct Strip {
  const std::uint8_t* data;
  std::ptrdiff_t stride;
  int quads;
};

/// Weights in the layout of one table, and the values that turn sums into bytes or floats.
struct Int8Weights {
  struct alignas(64) Line {
    std::uint8_t bytes[64];
  };
  int outputs = 0;
  int depth = 0;                    ///< weights of one output; a multiple of 4
  std::vector<Line> packed;         ///< panels of 16 outputs
  std::vector<std::int32_t> bias;   ///< start value of the sum of each output; padded to a multiple of 32 outputs
  std::vector<float> scale;         ///< factor of the sum of each output; padded to a multiple of 32 outputs
  std::vector<std::uint8_t> table;  ///< lookup table of 256 bytes for the result; empty: none
};

/// byte = round(a * scale_a + b * scale_b + offset), half to even, from 0 to 255.
struct Int8Sum {
  float scale_a, scale_b, offset;
};

struct Int8Kernels {
  static constexpr int pixels = 10;  ///< maximum per call of multiply_*; divides the rows of usual maps
  static constexpr int panel = 16;   ///< outputs

  const char* name;

  /// Fills `packed` from weights (outputs, depth), and adapts the bias to the loops.
  void (*pack)(const std::int8_t* weights, Int8Weights& to);

  /// Computes the outputs of 1 to `pixels` pixels: bias plus the products of strips and weights, in order; multiplied
  /// by scale, rounded half to even, cut to 0..255, and looked up in the table. Pixels of `out` are `stride` bytes
  /// apart.
  void (*multiply_u8)(const Strip* strips, int count, int pixels, const Int8Weights& weights, std::uint8_t* out,
                      std::ptrdiff_t stride);
  /// The same as floats, without rounding and table; output n of pixel p is written to out[n * stride + p].
  void (*multiply_f32)(const Strip* strips, int count, int pixels, const Int8Weights& weights, float* out,
                       std::ptrdiff_t stride);

  /// A row of a depthwise 3 x 3 convolution. Strip k is tap k of the first pixel, with its stride; its quads are not
  /// read. `weights`: (9, channels up to a multiple of 16), as they are.
  void (*depthwise)(const Strip* taps, int pixels, int channels, const Int8Weights& weights, std::uint8_t* out,
                    std::ptrdiff_t stride);

  /// The sum of two maps, each with its own pixel stride.
  void (*add)(const Strip& a, const Strip& b, int pixels, int channels, const Int8Sum& sum, std::uint8_t* out,
              std::ptrdiff_t stride);

  /// Pixels of four bytes from red, green and blue: round(value * scale) + zero, cut to 0..255; the fourth is `zero`.
  void (*quantize_rgb)(const float* const planes[3], std::size_t n, float scale, int zero, std::uint8_t* out);
};

/// For `pack`: allocates the panels. Functions that allocate are compiled here, for every CPU, because the linker keeps
/// an arbitrary instance of a template that several files instantiate.
void allocate_panels(Int8Weights& to, int bytes_per_weight);

/// The `pack` of tables that multiply four inputs at a time: (panel, four inputs, output of the panel, input).
void pack_quads(const std::int8_t* weights, Int8Weights& to);

/// A buffer of `n` words, valid until the next call on this thread.
std::int16_t* scratch_words(std::size_t count);

extern const Int8Kernels scalar_int8;
#ifdef YOLORT_X86
extern const Int8Kernels avx2_int8;
extern const Int8Kernels avxvnni_int8;
extern const Int8Kernels avx512vnni_int8;
#endif
#ifdef YOLORT_NEON
extern const Int8Kernels neon_int8;
extern const Int8Kernels dotprod_int8;
extern const Int8Kernels i8mm_int8;
#endif

/// The tables this CPU can run, best first.
std::vector<const Int8Kernels*> available_int8_kernels();

/// The best table; $YOLORT_SIMD forces one by name if the CPU has it.
const Int8Kernels& int8_kernels();

}  // namespace yolort
