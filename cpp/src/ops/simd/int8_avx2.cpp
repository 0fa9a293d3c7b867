#include "ops/simd/int8_ymm.h"

namespace yolort {
namespace {

/// Multiplies two inputs at a time, as words, because pairwise sums of byte products would not fit in 16 bits.
struct Words {
  static constexpr bool words = true;
  static __m256i add(__m256i sum, __m256i row, __m256i weights) {
    return _mm256_add_epi32(sum, _mm256_madd_epi16(row, weights));
  }
};

/// (panel, two inputs, output of the panel, input) as words
void pack(const std::int8_t* from, Int8Weights& to) {
  constexpr int panel = Int8Kernels::panel;
  const int pairs = to.depth / 2;
  allocate_panels(to, 2);
  for (int o = 0; o < to.outputs; ++o) {
    for (int i = 0; i < to.depth; ++i) {
      const std::int16_t value = from[std::ptrdiff_t{o} * to.depth + i];
      auto& line = to.packed[static_cast<std::size_t>(o / panel * pairs + i / 2)];
      std::memcpy(line.bytes + o % panel * 4 + i % 2 * 2, &value, sizeof(value));
    }
  }
}

}  // namespace

extern constexpr Int8Kernels avx2_int8 = {"avx2",
                                          pack,
                                          int8_ymm::multiply_u8<Words>,
                                          int8_ymm::multiply_f32<Words>,
                                          int8_ymm::depthwise,
                                          int8_ymm::add,
                                          int8_ymm::quantize_rgb};

}  // namespace yolort
