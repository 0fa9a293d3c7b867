// Without stb_image: no compressed images.
#include "images.h"

namespace yolort {

const std::vector<std::string>& compressed_endings() {
  static const std::vector<std::string> none;
  return none;
}

DecodedImage read_compressed(const std::filesystem::path& path) {
  throw ImageError("\"" + path.string() +
                   "\" is no binary PNM picture; this build reads nothing else (it was made without stb_image)");
}

}  // namespace yolort
