// Without stb_image: no compressed images.
#include "images.h"

namespace yolort {

const std::vector<std::string>& compressed_endings() {
  static const std::vector<std::string> none;
  return none;
}

DecodedImage read_compressed(const std::filesystem::path& path) {
  throw ImageError("\"" + path.string() +
                   "\" is not a binary PNM file; this build supports no other format (it was built without stb_image)");
}

}  // namespace yolort
