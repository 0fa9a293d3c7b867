#include "images.h"

#include <cctype>
#include <fstream>
#include <limits>

namespace yolort {
namespace {

/// Reads a number of the header, after spaces and comments; -1 if there is none.
int number(std::istream& from) {
  for (;;) {
    const int next = from.peek();
    if (next == '#') {
      from.ignore(std::numeric_limits<std::streamsize>::max(), '\n');
    } else if (std::isspace(next)) {
      from.get();
    } else {
      break;
    }
  }
  int value = -1;
  from >> value;
  return from ? value : -1;
}

}  // namespace

std::vector<std::string> image_endings() {
  std::vector<std::string> out = {".ppm", ".pgm", ".pnm"};
  out.insert(out.end(), compressed_endings().begin(), compressed_endings().end());
  return out;
}

DecodedImage read_image(const std::filesystem::path& path) {
  const auto refused = [&](const std::string& what) { return ImageError("\"" + path.string() + "\" " + what); };
  std::error_code error;
  const auto kind = std::filesystem::status(path, error).type();
  if (kind == std::filesystem::file_type::not_found) throw refused("does not exist");
  if (kind != std::filesystem::file_type::regular) throw refused("is not a file");  // a pipe would be waited for
  std::ifstream file(path, std::ios::binary);
  const std::uintmax_t size = std::filesystem::file_size(path, error);
  if (!file || error) throw refused("cannot be read");
  char magic[2] = {};
  file.read(magic, 2);
  if (magic[0] != 'P' || (magic[1] != '5' && magic[1] != '6')) {
    return read_compressed(path);
  }
  const std::size_t channels = magic[1] == '6' ? 3 : 1;
  DecodedImage out;
  out.width = number(file);
  out.height = number(file);
  const int max_value = number(file);
  if (out.width < 1 || out.height < 1 || out.width > Image::max_side || out.height > Image::max_side ||
      max_value != 255) {
    throw refused("is an unsupported PNM file; expected 1 to 65535 pixels per side and 255 as the maximum");
  }
  const std::int64_t pixels = std::int64_t{out.width} * out.height;
  if (pixels > max_image_pixels) throw refused("has more pixels than are allowed");
  if (size < static_cast<std::uintmax_t>(pixels) * channels) throw refused("is truncated");
  file.get();  // the single space after the header
  std::vector<std::uint8_t> bytes(static_cast<std::size_t>(pixels) * channels);
  file.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  if (!file) throw refused("is truncated");
  if (channels == 3) {
    out.rgb = std::move(bytes);
  } else {
    out.rgb.reserve(bytes.size() * 3);
    for (const std::uint8_t gray : bytes) out.rgb.insert(out.rgb.end(), 3, gray);
  }
  return out;
}

}  // namespace yolort
