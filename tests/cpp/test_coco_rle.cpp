#include "check.h"
#include "yolort/yolort.h"

using namespace yolort;

namespace {

Mask mask_of(int x, int y, int width, int height, std::vector<std::uint8_t> rows) {
  Mask out{x, y, width, height, {}};
  out.bits = std::shared_ptr<const std::uint8_t>(new std::uint8_t[rows.size()], std::default_delete<std::uint8_t[]>());
  std::copy(rows.begin(), rows.end(), const_cast<std::uint8_t*>(out.bits.get()));
  return out;
}

// Expected texts are pycocotools' encode() of the same pixels.
void test_counts() {
  CHECK(mask_of(2, 1, 2, 2, {0b11, 0b01}).rle(6, 5) == ";23O:");
  CHECK(mask_of(0, 0, 3, 4, {7, 7, 7, 7}).rle(3, 4) == "0<");
  CHECK(mask_of(1, 0, 2, 4, {3, 3, 3, 3}).rle(4, 4) == "484");  // one run over two columns
  CHECK(mask_of(1, 2, 2, 2, {3, 3}).rle(3, 4) == "6220");       // ends at the last pixel
  CHECK(mask_of(100, 40, 1, 1, {1}).rle(300, 200) == "Xbc01gPW1");
  CHECK_THROWS(mask_of(2, 1, 2, 2, {3, 3}).rle(3, 5), std::invalid_argument, "3 x 5");
}

}  // namespace

int main() {
  test_counts();
  return check::result();
}
