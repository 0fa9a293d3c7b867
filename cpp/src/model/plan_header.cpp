#include "model/plan_header.h"

#include <cstdint>

#include "model/literal.h"
#include "model/metadata.h"

namespace yolort {

Dict read_plan_header(ModelSpec& spec) {
  const auto [file, size] = open_graph(spec);
  unsigned char start[5] = {};
  file->read(reinterpret_cast<char*>(start), 5);
  if (!*file) fail(spec, "not a TensorRT engine, or truncated; build it again");
  if (start[4] != '{') return {};
  const std::uint64_t length = start[0] | start[1] << 8 | start[2] << 16 | static_cast<std::uint64_t>(start[3]) << 24;
  if (length > size - 4) fail(spec, "its metadata header is longer than the file, which is truncated; build it again");
  if (length > max_metadata_bytes) fail(spec, "its metadata header is larger than 8 MiB");
  std::string text(length, '{');
  file->read(text.data() + 1, static_cast<std::streamsize>(length) - 1);
  if (!*file) fail(spec, "its metadata header cannot be read");
  try {
    Value value = parse_literal(text);
    if (Dict* dict = std::get_if<Dict>(&value.data)) {
      spec.plan = 4 + length;
      return std::move(*dict);
    }
  } catch (const ParseError& what) {
    fail(spec, std::string("its metadata header: ") + what.what());
  }
  fail(spec, "its metadata header is not a JSON object");
}

}  // namespace yolort
