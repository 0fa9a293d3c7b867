#include "png.h"

#include <algorithm>
#include <array>
#include <fstream>
#include <string>
#include <system_error>

namespace yolort {
namespace {

namespace fs = std::filesystem;

constexpr char mark[] = "written by yolort";
constexpr std::size_t max_block = 65535;  // maximum size of a stored deflate block, in bytes

/// Four bytes, big-endian.
std::string big_endian(std::uint32_t value) {
  std::string out;
  for (int shift = 24; shift >= 0; shift -= 8) out += static_cast<char>(value >> shift & 0xFF);
  return out;
}

/// The CRC of PNG: bitwise, lowest bit first, polynomial 0xEDB88320 (ISO 15948, annex D).
std::uint32_t crc_of(const std::string& bytes) {
  static const std::array<std::uint32_t, 256> table = [] {
    std::array<std::uint32_t, 256> out{};
    for (std::uint32_t i = 0; i < 256; ++i) {
      std::uint32_t value = i;
      for (int bit = 0; bit < 8; ++bit) value = value & 1 ? value >> 1 ^ 0xEDB88320u : value >> 1;
      out[i] = value;
    }
    return out;
  }();
  std::uint32_t crc = ~0u;
  for (const char byte : bytes) crc = crc >> 8 ^ table[(crc ^ static_cast<unsigned char>(byte)) & 0xFF];
  return ~crc;
}

void write_chunk(std::ostream& to, const std::string& name, const std::string& data) {
  const std::string body = name + data;
  to << big_endian(static_cast<std::uint32_t>(data.size())) << body << big_endian(crc_of(body));
}

/// The rows, each preceded by its filter type (none), as a zlib stream (RFC 1950) of stored blocks.
std::string stream_of(const DecodedImage& image) {
  const std::size_t row = std::size_t{3} * static_cast<std::size_t>(image.width);
  std::string raw;
  raw.reserve((row + 1) * static_cast<std::size_t>(image.height));
  for (std::size_t at = 0; at < image.rgb.size(); at += row) {
    raw += '\0';
    raw.append(reinterpret_cast<const char*>(image.rgb.data()) + at, row);
  }
  std::string out = "\x78\x01";
  out.reserve(raw.size() + raw.size() / max_block * 5 + 16);
  std::uint32_t low = 1, high = 0;  // Adler-32
  for (std::size_t at = 0; at < raw.size(); at += max_block) {
    const std::size_t size = std::min(max_block, raw.size() - at);
    out += static_cast<char>(at + size == raw.size());
    for (const std::size_t length : {size, ~size}) {
      out += static_cast<char>(length & 0xFF);
      out += static_cast<char>(length >> 8 & 0xFF);
    }
    out.append(raw, at, size);
    for (std::size_t i = at; i < at + size; ++i) {
      low = (low + static_cast<unsigned char>(raw[i])) % 65521;
      high = (high + low) % 65521;
    }
  }
  return out + big_endian(high << 16 | low);
}

/// Whether a file ends with yolort's mark.
bool is_ours(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::string end(sizeof mark - 1, '\0');
  file.seekg(-static_cast<std::streamoff>(end.size()), std::ios::end);
  file.read(end.data(), static_cast<std::streamsize>(end.size()));
  return file && end == mark;
}

}  // namespace

void write_png(const fs::path& path, const DecodedImage& image) {
  std::error_code error, ignored;
  if (fs::exists(fs::symlink_status(path, ignored)) && !is_ours(path)) {
    throw ImageError("\"" + path.string() + "\" exists and was not written by yolort; choose another --save");
  }
  const fs::path part = path.parent_path() / ("." + path.filename().string() + ".yolort");
  {
    std::ofstream file(part, std::ios::binary);
    file << "\x89PNG\r\n\x1a\n";
    const auto size = [](int side) { return big_endian(static_cast<std::uint32_t>(side)); };
    write_chunk(file, "IHDR", size(image.width) + size(image.height) + std::string("\x08\x02\0\0\0", 5));
    write_chunk(file, "IDAT", stream_of(image));
    write_chunk(file, "IEND", "");
    file << mark;
    file.close();
    if (!file) error = std::make_error_code(std::errc::io_error);
  }
  if (!error) fs::rename(part, path, error);
  if (!error) return;
  fs::remove(part, ignored);
  throw ImageError("\"" + path.string() + "\" cannot be written");
}

}  // namespace yolort
