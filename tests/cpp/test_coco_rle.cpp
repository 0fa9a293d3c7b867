#include "ops/coco_rle.h"

#include "check.h"

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
  CHECK(coco_rle(mask_of(2, 1, 2, 2, {0b11, 0b01}), 6, 5) == ";23O:");
  CHECK(coco_rle(mask_of(0, 0, 3, 4, {7, 7, 7, 7}), 3, 4) == "0<");
  CHECK(coco_rle(mask_of(1, 0, 2, 4, {3, 3, 3, 3}), 4, 4) == "484");  // one run over two columns
  CHECK(coco_rle(mask_of(1, 2, 2, 2, {3, 3}), 3, 4) == "6220");       // ends at the last pixel
  CHECK(coco_rle(mask_of(100, 40, 1, 1, {1}), 300, 200) == "Xbc01gPW1");
}

}  // namespace

int main() {
  test_counts();
  return check::result();
}
