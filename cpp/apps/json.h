// Escapes text from files and models for JSON and for terminals.
#pragma once

#include <cstdio>
#include <string>

namespace yolort {

/// Number of bytes of the UTF-8 character at `at`; 0 if it is not valid UTF-8.
inline std::size_t utf8_length(const std::string& text, std::size_t at) {
  const auto byte = [&](std::size_t i) { return at + i < text.size() ? static_cast<unsigned char>(text[at + i]) : 0u; };
  const unsigned first = byte(0);
  if (first < 0x80) return 1;
  const std::size_t length = first >= 0xC2 && first < 0xE0 ? 2 : first >= 0xE0 && first < 0xF0 ? 3 : 4;
  if (first < 0xC2 || first > 0xF4) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
  }
  // Overlong encodings, surrogates and values above U+10FFFF are invalid.
  const bool wrong = (first == 0xE0 && byte(1) < 0xA0) || (first == 0xED && byte(1) > 0x9F) ||
                     (first == 0xF0 && byte(1) < 0x90) || (first == 0xF4 && byte(1) > 0x8F);
  return wrong ? 0 : length;
}

/// The code point of the UTF-8 character of `length` bytes at `at`.
inline unsigned utf8_code(const std::string& text, std::size_t at, std::size_t length) {
  const auto first = static_cast<unsigned char>(text[at]);
  unsigned code = length == 1 ? first : first & (0x7Fu >> length);
  for (std::size_t i = 1; i < length; ++i) code = code << 6 | (static_cast<unsigned char>(text[at + i]) & 0x3Fu);
  return code;
}

/// Whether a terminal would interpret the character: control characters, line and paragraph separators, text direction
/// marks.
inline bool is_hidden(unsigned code) {
  return code < 0x20 || (code >= 0x7F && code < 0xA0) || code == 0x061C || code == 0x200E || code == 0x200F ||
         (code >= 0x2028 && code <= 0x202E) || (code >= 0x2066 && code <= 0x2069);
}

/// Text for a terminal: hidden characters other than the line feed, and bytes that are not UTF-8, are shown as \x1b,
/// \u202e.
inline std::string visible(const std::string& text) {
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t length = utf8_length(text, at);
    const unsigned code = length ? utf8_code(text, at, length) : static_cast<unsigned char>(text[at]);
    if (length && (code == '\n' || !is_hidden(code))) {
      out.append(text, at, length);
    } else {
      char escaped[8];
      std::snprintf(escaped, sizeof escaped, code < 0x100 ? "\\x%02x" : "\\u%04x", code & 0xFFFFu);
      out += escaped;
    }
    at += length ? length : 1;
  }
  return out;
}

/// A JSON string. Invalid UTF-8, which file names may contain, becomes U+FFFD.
inline std::string json_string(const std::string& text) {
  std::string out = "\"";
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t length = utf8_length(text, at);
    const auto byte = static_cast<unsigned char>(text[at]);
    if (length == 0) {
      out += "\\ufffd";
    } else if (byte == '"' || byte == '\\') {
      out += {'\\', text[at]};
    } else if (is_hidden(utf8_code(text, at, length))) {
      char code[8];
      std::snprintf(code, sizeof code, "\\u%04x", utf8_code(text, at, length) & 0xFFFFu);
      out += code;
    } else {
      out.append(text, at, length);
    }
    at += length ? length : 1;
  }
  return out + '"';
}

/// A finite number with this many digits after the point.
inline std::string json_number(double value, int digits) {
  char text[64];
  std::snprintf(text, sizeof text, "%.*f", digits, value);
  return text;
}

}  // namespace yolort
