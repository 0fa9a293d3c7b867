// Reads image files, for programs: the library itself takes pixels.
#pragma once

#include <cstdint>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <vector>

#include "yolort/yolort.h"

namespace yolort {

/// The file is not an image, or has an unsupported format.
struct ImageError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct DecodedImage {
  int width = 0, height = 0;
  std::vector<std::uint8_t> rgb;

  Image image() const { return {rgb.data(), width, height, 0, PixelFormat::rgb}; }
};

/// Bytes of a pixel.
inline std::size_t pixel_size(const Image& image) {
  static constexpr std::size_t sizes[] = {3, 3, 4, 4, 1};  // one per PixelFormat before `channels`
  return image.format == PixelFormat::channels ? static_cast<std::size_t>(image.channels)
                                               : sizes[static_cast<int>(image.format)];
}

/// Larger images are not decoded.
inline constexpr std::int64_t max_image_pixels = std::int64_t{1} << 27;

/// File extensions that read_image() supports: ".ppm", ...; lower case.
std::vector<std::string> image_endings();

/// Reads binary PNM (P5, P6) with 8 bits, and the formats of read_compressed(). Throws ImageError.
DecodedImage read_image(const std::filesystem::path& path);

/// JPEG and PNG, in a build with stb_image. The orientation in EXIF is not applied.
DecodedImage read_compressed(const std::filesystem::path& path);
const std::vector<std::string>& compressed_endings();

}  // namespace yolort
