#include "ops/simd/int8_arm.h"

namespace yolort {
namespace {

struct Pairs {
  static uint8x16_t prepare(uint8x16_t bytes) { return veorq_u8(bytes, vdupq_n_u8(0x80)); }  // byte - 128

  template <int lane>
  static int32x4_t step(int32x4_t sum, uint8x16_t row, int8x16_t weights) {
    const int8x16_t four = vreinterpretq_s8_s32(vdupq_laneq_s32(vreinterpretq_s32_u8(row), lane));
    const int16x8_t low = vmull_s8(vget_low_s8(weights), vget_low_s8(four)), high = vmull_high_s8(weights, four);
    return vaddq_s32(sum, vpaddq_s32(vpaddlq_s16(low), vpaddlq_s16(high)));
  }
};

}  // namespace

extern constexpr Int8Kernels neon_int8 = {"neon",
                                          int8_arm::pack_signed,
                                          int8_arm::multiply_u8<Pairs>,
                                          int8_arm::multiply_f32<Pairs>,
                                          int8_arm::depthwise,
                                          int8_arm::add,
                                          int8_arm::quantize_rgb};

}  // namespace yolort
