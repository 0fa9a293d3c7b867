// Records of a ZIP archive (APPNOTE.TXT of PKWARE, 4.3): local header 4.3.7, central directory 4.3.12, its end 4.3.16.
// Numbers are little-endian.
#include "model/tflite_metadata.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>

#include "model/literal.h"
#include "model/metadata.h"
#include "platform/zlib.h"

namespace yolort {
namespace {

constexpr std::uint64_t end_record = 22, central_record = 46, local_record = 30;
constexpr std::uint64_t max_directory = 1 << 20;
const std::string file_name = "metadata.json";

std::uint64_t number(const std::string& bytes, std::uint64_t at, int size) {
  std::uint64_t out = 0;
  for (int i = size; i-- > 0;) out = out << 8 | static_cast<unsigned char>(bytes.at(at + static_cast<std::size_t>(i)));
  return out;
}

struct Archive {
  const ModelSpec& spec;
  GraphStream file;

  explicit Archive(const ModelSpec& from) : spec(from), file(open_graph(from)) {}

  std::string read(std::uint64_t at, std::uint64_t count) const {
    if (at > file.size || count > file.size - at) damaged();
    std::string out(count, '\0');
    file.stream->seekg(static_cast<std::streamoff>(at));
    if (!file.stream->read(out.data(), static_cast<std::streamsize>(count))) damaged();
    return out;
  }

  [[noreturn]] void damaged() const { fail(spec, "the archive with its metadata is damaged; export it again"); }

  /// The contents of metadata.json; nothing if there is none.
  std::optional<std::string> metadata() const {
    if (file.size < end_record) return std::nullopt;
    const std::string end = read(file.size - end_record, end_record);  // without a comment, as Ultralytics writes it
    if (number(end, 0, 4) != 0x06054B50) return std::nullopt;
    const std::uint64_t size = number(end, 12, 4), start = number(end, 16, 4);
    if (size > max_directory) damaged();
    const std::string directory = read(start, size);
    for (std::uint64_t at = 0; at + central_record <= directory.size();) {
      if (number(directory, at, 4) != 0x02014B50) damaged();
      const std::uint64_t name = number(directory, at + 28, 2);
      if (directory.compare(at + central_record, name, file_name) == 0) return unpacked(directory, at);
      at += central_record + name + number(directory, at + 30, 2) + number(directory, at + 32, 2);
    }
    return std::nullopt;
  }

  /// The file whose directory entry is at this position.
  std::string unpacked(const std::string& directory, std::uint64_t at) const {
    const std::uint64_t method = number(directory, at + 10, 2), packed = number(directory, at + 20, 4);
    const std::uint64_t size = number(directory, at + 24, 4), start = number(directory, at + 42, 4);
    if (std::max(packed, size) > max_metadata_bytes) fail(spec, "the metadata is larger than 8 MiB");
    const std::string local = read(start, local_record);
    const std::string bytes = read(start + local_record + number(local, 26, 2) + number(local, 28, 2), packed);
    if (method == 0) return bytes;
    if (method != 8) fail(spec, "its metadata is compressed in an unknown format; export it again");
    std::optional<std::string> text = inflate_raw(bytes, size);
    if (!text) damaged();
    return std::move(*text);
  }
};

}  // namespace

Dict read_tflite_metadata(const ModelSpec& spec) {
  const std::optional<std::string> text = Archive(spec).metadata();
  if (!text) return {};
  try {
    Value value = parse_literal(*text);
    if (Dict* dict = std::get_if<Dict>(&value.data)) return std::move(*dict);
  } catch (const ParseError& what) {
    fail(spec, "its metadata.json: " + std::string(what.what()));
  }
  fail(spec, "its metadata.json is not a JSON object");
}

}  // namespace yolort
