// JPEG and PNG with stb_image.
#include "images.h"

#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_STATIC
#define STBI_ONLY_JPEG
#define STBI_ONLY_PNG
#define STBI_MAX_DIMENSIONS 65535
#include <stb_image.h>

#include <cstdio>
#include <memory>

namespace yolort {

const std::vector<std::string>& compressed_endings() {
  static const std::vector<std::string> endings = {".jpg", ".jpeg", ".jpe", ".jfif", ".png"};
  return endings;
}

DecodedImage read_compressed(const std::filesystem::path& path) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rb"), std::fclose);
  if (!file) throw ImageError("\"" + path.string() + "\" cannot be read");
  const auto refused = [&] {
    const char* why = stbi_failure_reason();
    return ImageError("\"" + path.string() + "\" is not a readable JPEG, PNG or binary PNM file" +
                      (why ? ": " + std::string(why) : ""));
  };
  DecodedImage out;
  if (!stbi_info_from_file(file.get(), &out.width, &out.height, nullptr)) throw refused();
  if (std::int64_t{out.width} * out.height > max_image_pixels) {
    throw ImageError("\"" + path.string() + "\" has " + std::to_string(out.width) + " x " + std::to_string(out.height) +
                     " pixels, more than are allowed");
  }
  const std::unique_ptr<stbi_uc, void (*)(void*)> pixels(
      stbi_load_from_file(file.get(), &out.width, &out.height, nullptr, 3), stbi_image_free);
  if (!pixels) throw refused();
  out.rgb.assign(pixels.get(), pixels.get() + std::size_t{3} * static_cast<std::size_t>(out.width) *
                                                  static_cast<std::size_t>(out.height));
  return out;
}

}  // namespace yolort
