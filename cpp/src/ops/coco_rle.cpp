// Masks as COCO writes them.
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include "yolort/yolort.h"

namespace yolort {
namespace {

/// The run lengths; the first run is outside the object.
std::vector<std::int64_t> run_lengths(const Mask& mask, int width, int height) {
  std::vector<std::int64_t> out;
  std::int64_t start = 0;
  bool inside = false;
  const auto turn = [&](std::int64_t at) {
    out.push_back(at - start);
    start = at;
    inside = !inside;
  };
  for (int x = 0; x < mask.width; ++x) {
    const std::int64_t column = static_cast<std::int64_t>(mask.x + x) * height;
    const std::uint8_t* byte = mask.bits.get() + x / 8;
    for (int y = 0; y < mask.height; ++y, byte += mask.row_bytes()) {
      if ((*byte >> x % 8 & 1) != inside) turn(column + mask.y + y);
    }
    if (inside && mask.y + mask.height < height) turn(column + mask.y + mask.height);
    // At the bottom of a column, a run continues at the top of the next column if the mask does.
    if (inside && mask.y > 0) turn(column + height);
  }
  if (inside) turn(static_cast<std::int64_t>(mask.x + mask.width) * height);
  const std::int64_t end = static_cast<std::int64_t>(width) * height;
  if (start < end) turn(end);
  return out;
}

}  // namespace

std::string Mask::rle(int image_width, int image_height) const {
  if (x < 0 || y < 0 || width > image_width - x || height > image_height - y) {
    throw std::invalid_argument("the mask does not fit in an image of " + std::to_string(image_width) + " x " +
                                std::to_string(image_height) + " pixels");
  }
  const std::vector<std::int64_t> runs = run_lengths(*this, image_width, image_height);
  std::string out;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    std::int64_t rest = i > 2 ? runs[i] - runs[i - 2] : runs[i];
    for (bool more = true; more;) {  // five bits per character, lowest first
      int five = static_cast<int>(rest & 31);
      rest >>= 5;
      more = five & 16 ? rest != -1 : rest != 0;
      out += static_cast<char>((more ? five | 32 : five) + 48);
    }
  }
  return out;
}

}  // namespace yolort
