#include "ops/simd/int8_ymm.h"

namespace yolort {
namespace {

struct Quads {
  static constexpr bool words = false;
  /// In-place _mm256_dpbusd_avx_epi32. With the intrinsic, GCC 12 copies each sum twice and keeps some on the stack.
  static __m256i add(__m256i sum, __m256i row, __m256i weights) {
    asm("%{vex%} vpdpbusd %2, %1, %0" : "+x"(sum) : "x"(row), "x"(weights));
    return sum;
  }
};

}  // namespace

extern constexpr Int8Kernels avxvnni_int8 = {
    "avxvnni",           pack_quads,    int8_ymm::multiply_u8<Quads>, int8_ymm::multiply_f32<Quads>,
    int8_ymm::depthwise, int8_ymm::add, int8_ymm::quantize_rgb};

}  // namespace yolort
