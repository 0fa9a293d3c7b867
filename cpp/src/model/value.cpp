#include "model/value.h"

#include <cctype>
#include <charconv>
#include <cstdlib>

namespace yolort {

const Value* Value::find(std::string_view key) const {
  const Dict* dict = as<Dict>();
  if (!dict) return nullptr;
  for (const auto& [name, value] : *dict) {
    const std::string* text = name.as<std::string>();
    if (text && *text == key) return &value;
  }
  return nullptr;
}

namespace parsing {
namespace {

/// Returns false unless the whole text is a number.
bool parse_number(std::string_view text, Value& out) {
  if (text.empty()) return false;
  std::string_view digits = text;
  if (digits.front() == '+' || digits.front() == '-') digits.remove_prefix(1);
  if (digits.empty() || !(std::isdigit(static_cast<unsigned char>(digits.front())) || digits.front() == '.'))
    return false;
  const char* begin = text.data() + (text.front() == '+');
  const char* end = text.data() + text.size();
  std::int64_t integer = 0;
  auto [stop, error] = std::from_chars(begin, end, integer);
  if (error == std::errc() && stop == end) {
    out.data = integer;
    return true;
  }
  // libstdc++ 10 has no from_chars for doubles; strtod needs a terminated copy.
  std::string copy(begin, end);
  if (copy.find_first_not_of("+-0123456789.eE") != std::string::npos) return false;
  char* tail = nullptr;
  double real = std::strtod(copy.c_str(), &tail);
  if (tail != copy.c_str() + copy.size()) return false;
  out.data = real;
  return true;
}

}  // namespace

void check_size(std::string_view text) {
  if (text.size() > max_size) throw ParseError("longer than " + std::to_string(max_size) + " bytes");
}

void ValueCount::add() {
  if (++count_ > max_values) throw ParseError("more than " + std::to_string(max_values) + " values");
}

void append_utf8(std::string& out, std::uint32_t code) {
  if (code < 0x80) {
    out += static_cast<char>(code);
  } else if (code < 0x800) {
    out += static_cast<char>(0xC0 | code >> 6);
    out += static_cast<char>(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    out += static_cast<char>(0xE0 | code >> 12);
    out += static_cast<char>(0x80 | (code >> 6 & 0x3F));
    out += static_cast<char>(0x80 | (code & 0x3F));
  } else {
    out += static_cast<char>(0xF0 | code >> 18);
    out += static_cast<char>(0x80 | (code >> 12 & 0x3F));
    out += static_cast<char>(0x80 | (code >> 6 & 0x3F));
    out += static_cast<char>(0x80 | (code & 0x3F));
  }
}

std::optional<std::uint32_t> parse_hex(std::string_view text, std::size_t digits) {
  std::uint32_t code = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), code, 16);
  const bool whole = text.size() == digits && error == std::errc() && stop == text.data() + text.size();
  return whole && code <= 0x10FFFF ? std::optional(code) : std::nullopt;
}

bool parse_word(std::string_view word, Value& out) {
  if (word == "null" || word == "None" || word == "~") {
    out.data = nullptr;
  } else if (word == "true" || word == "True") {
    out.data = true;
  } else if (word == "false" || word == "False") {
    out.data = false;
  } else {
    if (!parse_number(word, out)) return false;
  }
  out.text = word;
  return true;
}

}  // namespace parsing
}  // namespace yolort
