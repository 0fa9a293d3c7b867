// Metadata values, as returned by the parsers of literals (model/literal.h) and YAML (model/yaml.h). The text is
// untrusted: nothing is evaluated, depth and size are bounded.
#pragma once

#include <cstdint>
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

/// The error, with its character position or line.
struct ParseError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Shared by both parsers.
namespace parsing {

inline constexpr int max_depth = 32;
inline constexpr std::size_t max_size = 8 << 20;    ///< bytes: 65,536 names of 128 bytes
inline constexpr std::size_t max_values = 1 << 19;  ///< per text; a Value takes about 100 bytes

/// Throws ParseError for more than max_size.
void check_size(std::string_view text);

/// Counts the values of a text.
class ValueCount {
 public:
  /// Throws ParseError for more than max_values.
  void add();

 private:
  std::size_t count_ = 0;
};

void append_utf8(std::string& out, std::uint32_t code);

/// The code point that exactly `digits` hexadecimal digits name.
std::optional<std::uint32_t> parse_hex(std::string_view text, std::size_t digits);

/// Parses a null, boolean or number of JSON, Python or YAML. Returns false if the word is none of them.
bool parse_word(std::string_view word, Value& out);

}  // namespace parsing
}  // namespace yolort
