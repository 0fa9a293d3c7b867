#include "ops/simd/int8_ymm.h"

namespace yolort {
namespace {

struct Quads {
  static constexpr bool words = false;
  static __m256i add(__m256i sum, __m256i row, __m256i weights) { return _mm256_dpbusd_avx_epi32(sum, row, weights); }
};

}  // namespace

extern const Int8Kernels avxvnni_int8 = {
    "avxvnni",           scalar_int8.pack, int8_ymm::multiply_u8<Quads>, int8_ymm::multiply_f32<Quads>,
    int8_ymm::depthwise, int8_ymm::add,    int8_ymm::quantize_rgb};

}  // namespace yolort
