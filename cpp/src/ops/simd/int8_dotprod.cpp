#include "ops/simd/int8_arm.h"

namespace yolort {
namespace {

struct SignedQuads {
  static uint8x16_t prepare(uint8x16_t bytes) { return veorq_u8(bytes, vdupq_n_u8(0x80)); }  // byte - 128

  template <int lane>
  static int32x4_t step(int32x4_t sum, uint8x16_t row, int8x16_t weights) {
    return vdotq_laneq_s32(sum, weights, vreinterpretq_s8_u8(row), lane);
  }
};

}  // namespace

extern constexpr Int8Kernels dotprod_int8 = {"dotprod",
                                             int8_arm::pack_signed,
                                             int8_arm::multiply_u8<SignedQuads>,
                                             int8_arm::multiply_f32<SignedQuads>,
                                             int8_arm::depthwise,
                                             int8_arm::add,
                                             int8_arm::quantize_rgb};

}  // namespace yolort
