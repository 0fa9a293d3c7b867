// The protobuf fields of ModelProto that matter (onnx.proto: graph = 7, metadata_props = 14).
#include "model/onnx_metadata.h"

#include "model/metadata.h"
#include "model/protobuf.h"

namespace yolort {
namespace {

constexpr int max_onnx_fields = 1 << 16;  ///< limit for a ModelProto; an export has about 20

/// A StringStringEntryProto (key = 1, value = 2).
std::pair<Value, Value> read_entry(ProtobufReader& file, std::uint64_t end) {
  std::string texts[2];
  for (ProtobufField field; file.next(end, field);) {
    if (field.is_bytes && (field.number == 1 || field.number == 2)) {
      texts[field.number - 1] = file.read(field, max_metadata_bytes);
    } else {
      file.skip(field);
    }
  }
  return {Value{texts[0]}, Value{texts[1]}};
}

}  // namespace

Dict read_onnx_metadata(const ModelSpec& spec) {
  const auto [stream, size] = open_graph(spec);
  ProtobufReader file(*stream, size);
  Dict metadata;
  std::uint64_t total = 0;
  bool graph = false;
  try {
    int fields = 0;
    for (ProtobufField field; file.next(size, field); ++fields) {
      if (fields > max_onnx_fields) throw ParseError("too many fields");
      graph |= field.number == 7 && field.is_bytes;
      if (field.number == 14 && field.is_bytes) {
        const std::uint64_t before = total;
        total += file.remaining(field);
        if (total > max_metadata_bytes || total < before) fail(spec, "the metadata is larger than 8 MiB");
        metadata.push_back(read_entry(file, field.end));
      } else {
        file.skip(field);
      }
    }
    if (!graph) throw ParseError("no graph");
  } catch (const ParseError&) {
    fail(spec, "not an ONNX file, or a truncated one; export it again");
  }
  return metadata;
}

}  // namespace yolort
