// The protobuf fields of ModelProto that matter (onnx.proto: graph = 7, metadata_props = 14).
#include "model/onnx_metadata.h"

#include <cstdint>
#include <filesystem>
#include <fstream>

#include "model/metadata.h"

namespace yolort {
namespace {

constexpr int max_onnx_fields = 1 << 16;  ///< of a ModelProto; an export has about 20

/// Reads a file's protobuf fields without loading the weights.
class ProtobufFile {
 public:
  ProtobufFile(const std::filesystem::path& path, const ModelSpec& spec) : file_(path, std::ios::binary), spec_(spec) {
    std::error_code error;
    size_ = std::filesystem::file_size(path, error);
    if (!file_ || error) fail(spec, "cannot be read");
  }

  bool done() const { return at_ >= size_; }
  std::uint64_t varint() {
    std::uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      int byte = file_.get();
      if (byte == std::char_traits<char>::eof()) truncated();
      ++at_;
      value |= static_cast<std::uint64_t>(byte & 0x7F) << shift;
      if (!(byte & 0x80)) return value;
    }
    truncated();
  }
  std::string bytes(std::uint64_t length) {
    if (length > size_ - at_) truncated();
    if (length > max_metadata_bytes) fail(spec_, "a metadata entry is larger than 1 MiB");
    std::string out(length, '\0');
    file_.read(out.data(), static_cast<std::streamsize>(length));
    if (!file_) truncated();
    at_ += length;
    return out;
  }
  void skip(std::uint64_t length) {
    if (length > size_ - at_) truncated();
    at_ += length;
    file_.seekg(static_cast<std::streamoff>(at_));
  }
  [[noreturn]] void truncated() const { fail(spec_, "not an ONNX file, or a truncated one; export it again"); }

 private:
  std::ifstream file_;
  const ModelSpec& spec_;
  std::uint64_t size_ = 0, at_ = 0;
};

/// The bytes of a length-delimited field of a message; empty if a field of another kind comes first.
std::string string_field(const std::string& message, int wanted) {
  std::size_t at = 0;
  while (at < message.size()) {
    unsigned tag = static_cast<unsigned char>(message[at++]);
    std::uint64_t length = 0;
    for (int shift = 0; shift < 64 && at < message.size(); shift += 7) {
      auto byte = static_cast<unsigned char>(message[at++]);
      length |= static_cast<std::uint64_t>(byte & 0x7F) << shift;
      if (!(byte & 0x80)) break;
    }
    if ((tag & 7) != 2 || length > message.size() - at) break;
    if (static_cast<int>(tag >> 3) == wanted) return message.substr(at, length);
    at += length;
  }
  return {};
}

}  // namespace

Dict read_onnx_metadata(const ModelSpec& spec) {
  ProtobufFile file(spec.graph, spec);
  Dict metadata;
  std::size_t total = 0;
  bool graph = false;
  for (int fields = 0; !file.done(); ++fields) {
    const std::uint64_t tag = file.varint();
    const std::uint64_t field = tag >> 3;
    if (field == 0 || fields > max_onnx_fields) file.truncated();
    switch (tag & 7) {
      case 0: file.varint(); break;
      case 1: file.skip(8); break;
      case 5: file.skip(4); break;
      case 2: {
        std::uint64_t length = file.varint();
        if (field != 14) {
          graph |= field == 7;
          file.skip(length);
          break;
        }
        std::string entry = file.bytes(length);
        total += entry.size();
        if (total > max_metadata_bytes) fail(spec, "the metadata is larger than 1 MiB");
        metadata.emplace_back(Value{string_field(entry, 1)}, Value{string_field(entry, 2)});
        break;
      }
      default: file.truncated();
    }
  }
  if (!graph) file.truncated();
  return metadata;
}

}  // namespace yolort
