#include "ops/half.h"

#include <string>

#include "check.h"

using namespace yolort;

namespace {

void test_half_conversion() {
  for (std::uint32_t bits = 0; bits < 65536; ++bits) {
    const float value = half_to_float(static_cast<std::uint16_t>(bits));
    if (std::isnan(value)) continue;
    if (float_to_half(value) != bits) check::fail(__FILE__, __LINE__, "half " + std::to_string(bits));
  }
  CHECK(float_to_half(65519.0f) == 0x7BFF);
  CHECK(float_to_half(65520.0f) == 0x7C00);
  CHECK(float_to_half(1.0f + 1.0f / 2048) == 0x3C00);  // ties to even
  CHECK(float_to_half(1.0f + 3.0f / 2048) == 0x3C02);
  CHECK(float_to_half(5.9604645e-8f) == 1);
}

}  // namespace

int main() {
  test_half_conversion();
  return check::result();
}
