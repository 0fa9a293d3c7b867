// Pixels of any size, stride and format into an input of any size, on every instruction set, whose results are the
// same; and files that claim to be images.
#include <algorithm>
#include <cstdlib>
#include <vector>

#include "../../cpp/apps/images.h"
#include "fuzz.h"
#include "ops/letterbox.h"

using namespace yolort;

namespace {

void picture(const fuzz::Folder& folder, std::string_view bytes) {
  for (const std::string& ending : image_endings()) {
    try {
      const DecodedImage found = read_image(folder.write("picture" + ending, bytes));
      if (found.rgb.size() != std::size_t{3} * found.width * found.height) std::abort();
    } catch (const ImageError&) {
    }
  }
}

void letterbox(fuzz::Bytes bytes) {
  const int width = bytes.within(1, 96), height = bytes.within(1, 96);
  const int input_width = bytes.within(1, 96), input_height = bytes.within(1, 96);
  const auto format = static_cast<PixelFormat>(bytes.within(0, 4));
  const int channels = static_cast<int>(order_of(format).step);
  const std::ptrdiff_t stride = std::ptrdiff_t{width} * channels + bytes.within(0, 7);
  const bool upside_down = bytes.flag(), half = bytes.flag(), mirrored = bytes.flag();
  const double scale = bytes.within(1, 100) / 100.0;
  const Geometry geometry = Geometry::fit(width, height, input_width, input_height, scale, mirrored);

  // Exactly as large as the image, on the heap, so that sanitizers find reads past its end.
  const auto count = static_cast<std::size_t>(stride * (height - 1) + std::ptrdiff_t{width} * channels);
  std::vector<std::uint8_t> pixels(count);
  const std::string_view given = bytes.rest();
  for (std::size_t i = 0; i < count && !given.empty(); ++i) {
    pixels[i] = static_cast<std::uint8_t>(given[i % given.size()] + i / given.size());
  }
  Image image{pixels.data(), width, height, stride, format};
  if (upside_down) image.pixels += stride * (height - 1), image.stride = -stride;
  check_image(image);

  const auto elements = static_cast<std::size_t>(3 * input_width * input_height);
  std::vector<float> first;
  for (const Kernels* kernels : available_kernels()) {
    std::vector<float> out(elements);  // f16 uses half of it
    const Tensor input{out.data(),
                       {1, 3, input_height, input_width},
                       std::ptrdiff_t{input_width} * input_height,
                       half ? Type::f16 : Type::f32};
    Letterbox box(*kernels);
    box(image, geometry, input, 0, false);
    box(image, geometry, input, 0, true);
    if (first.empty()) first = out;
    if (std::memcmp(first.data(), out.data(), elements * sizeof(float)) != 0) std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const fuzz::Folder folder;
  fuzz::Bytes bytes(data, size);
  if (bytes.flag())
    picture(folder, bytes.rest());
  else
    letterbox(bytes);
  return 0;
}
