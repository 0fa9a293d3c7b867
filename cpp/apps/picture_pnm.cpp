// Binary PNM (P5, P6) of 8 bits, where stb_image is not at hand.
#include <cctype>
#include <fstream>

#include "picture.h"

namespace yolort {
namespace {

/// A number of the header, after spaces and comments; -1: there is none.
int number(std::istream& from) {
  for (;;) {
    const int next = from.peek();
    if (next == '#') {
      std::string comment;
      std::getline(from, comment);
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

const std::vector<std::string>& picture_endings() {
  static const std::vector<std::string> endings = {".ppm", ".pgm", ".pnm"};
  return endings;
}

Picture read_picture(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw PictureError("\"" + path.string() + "\" cannot be read");
  const auto refused = [&](const std::string& what) { return PictureError("\"" + path.string() + "\" " + what); };
  char magic[2] = {};
  file.read(magic, 2);
  if (!file || magic[0] != 'P' || (magic[1] != '5' && magic[1] != '6')) {
    throw refused("is no binary PNM picture; this build reads nothing else (it was made without stb_image)");
  }
  const std::size_t channels = magic[1] == '6' ? 3 : 1;
  Picture out;
  out.width = number(file);
  out.height = number(file);
  const int most = number(file);
  if (out.width < 1 || out.height < 1 || out.width > Image::max_side || out.height > Image::max_side || most != 255) {
    throw refused("is a PNM picture of another kind; expected 1 to 65535 pixels a side and 255 as the maximum");
  }
  const std::int64_t pixels = std::int64_t{out.width} * out.height;
  if (pixels > max_picture_pixels) throw refused("has more pixels than are read here");
  file.get();  // the one space behind the header
  std::vector<std::uint8_t> bytes(static_cast<std::size_t>(pixels) * channels);
  file.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  if (!file) throw refused("is truncated");
  if (channels == 3) {
    out.rgb = std::move(bytes);
  } else {
    for (const std::uint8_t gray : bytes) out.rgb.insert(out.rgb.end(), 3, gray);
  }
  return out;
}

}  // namespace yolort
