// Metadata values: JSON, Python literals (what Ultralytics stores in ONNX files) and the block YAML it writes beside
// NCNN and OpenVINO models. The text is untrusted: nothing is evaluated, depth and size are bounded.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace yolort {

struct Value;
using List = std::vector<Value>;
using Dict = std::vector<std::pair<Value, Value>>;

struct Value {
  std::variant<std::nullptr_t, bool, std::int64_t, double, std::string, List, Dict> data = nullptr;
  std::string text = {};  ///< a null, boolean or number as it was written: "08", "1e3", "None"

  template <class T>
  const T* as() const {
    return std::get_if<T>(&data);
  }
  /// The entry of a dict under a string key; null when there is none.
  const Value* find(std::string_view key) const;
};

/// What is wrong and at which character or line.
struct ParseError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// JSON or a Python literal: null/None, true/True, numbers, quoted strings, lists, tuples, dicts. At most 1 MiB and
/// 32 levels. Throws ParseError.
Value parse_literal(std::string_view text);

/// YAML as PyYAML's scanner reads it, with the tags of text, numbers and collections; no anchors and no `? ` keys. At
/// most 1 MiB and 32 levels. Throws ParseError.
Value parse_yaml(std::string_view text);

/// The contents of a regular file; nothing if it cannot be read or holds more bytes.
std::optional<std::string> read_text(const std::filesystem::path& path, std::size_t max_bytes);

}  // namespace yolort
