#include "ops/simd/int8_arm.h"

namespace yolort {
namespace {

struct MixedQuads {
  static uint8x16_t prepare(uint8x16_t bytes) { return bytes; }

  template <int lane>
  static int32x4_t step(int32x4_t sum, uint8x16_t row, int8x16_t weights) {
    return vsudotq_laneq_s32(sum, weights, row, lane);
  }
};

}  // namespace

extern constexpr Int8Kernels i8mm_int8 = {"i8mm",
                                          pack_quads,
                                          int8_arm::multiply_u8<MixedQuads>,
                                          int8_arm::multiply_f32<MixedQuads>,
                                          int8_arm::depthwise,
                                          int8_arm::add,
                                          int8_arm::quantize_rgb};

}  // namespace yolort
