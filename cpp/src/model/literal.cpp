#include "model/literal.h"

#include <cstdint>
#include <optional>
#include <string>
#include <utility>

namespace yolort {
namespace {

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

class LiteralParser {
 public:
  explicit LiteralParser(std::string_view text) : text_(text) {}

  Value parse() {
    Value value = parse_value(0);
    skip_space();
    if (!done()) fail("text after the value");
    return value;
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw ParseError(what + " at character " + std::to_string(at_));
  }
  bool done() const { return at_ >= text_.size(); }
  void skip_space() {
    while (!done() && is_space(text_[at_])) ++at_;
  }
  bool take(char c) {
    skip_space();
    if (done() || text_[at_] != c) return false;
    ++at_;
    return true;
  }

  Value parse_value(int depth) {
    if (depth > parsing::max_depth) fail("nested deeper than " + std::to_string(parsing::max_depth) + " levels");
    skip_space();
    if (done()) fail("a value is missing");
    count_.add();
    switch (text_[at_]) {
      case '{': return parse_dict(depth);
      case '[': return parse_list(depth, ']');
      case '(': return parse_list(depth, ')');
      case '"':
      case '\'': return {parse_string()};
      default: return parse_bare();
    }
  }

  Value parse_dict(int depth) {
    Dict dict;
    ++at_;
    while (!take('}')) {
      Value key = parse_value(depth + 1);
      if (!take(':')) fail("expected ':'");
      Value value = parse_value(depth + 1);
      dict.emplace_back(std::move(key), std::move(value));
      if (!take(',') && (skip_space(), done() || text_[at_] != '}')) fail("expected ',' or '}'");
    }
    return {std::move(dict)};
  }

  Value parse_list(int depth, char close) {
    List list;
    ++at_;
    while (!take(close)) {
      list.push_back(parse_value(depth + 1));
      if (!take(',') && (skip_space(), done() || text_[at_] != close)) fail("expected ',' or the end of the list");
    }
    return {std::move(list)};
  }

  std::string parse_string() {
    const char quote = text_[at_++];
    std::string out;
    while (true) {
      if (done()) fail("a string has no closing quote");
      char c = text_[at_++];
      if (c == quote) return out;
      if (c == '\\') {
        parse_escape(out);
      } else {
        out += c;
      }
    }
  }

  void parse_escape(std::string& out) {
    if (done()) fail("a string has no closing quote");
    char c = text_[at_++];
    switch (c) {
      case 'n': out += '\n'; return;
      case 't': out += '\t'; return;
      case 'r': out += '\r'; return;
      case 'b': out += '\b'; return;
      case 'f': out += '\f'; return;
      case 'a': out += '\a'; return;
      case 'v': out += '\v'; return;
      case '0':
        if (!done() && text_[at_] >= '0' && text_[at_] <= '9') fail("octal escapes are not supported");
        out += '\0';
        return;
      case 'x': parsing::append_utf8(out, parse_hex(2)); return;
      case 'u': {
        std::uint32_t code = parse_hex(4);
        if (code >= 0xD800 && code < 0xDC00 && text_.substr(at_, 2) == "\\u") {  // JSON's surrogate pairs
          at_ += 2;
          std::uint32_t low = parse_hex(4);
          if (low < 0xDC00 || low > 0xDFFF) fail("half a surrogate pair");
          code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
        }
        parsing::append_utf8(out, code);
        return;
      }
      case 'U': parsing::append_utf8(out, parse_hex(8)); return;
      case '\'':
      case '"':
      case '\\':
      case '/': out += c; return;
      default: fail("bad escape");
    }
  }

  std::uint32_t parse_hex(std::size_t digits) {
    const std::optional<std::uint32_t> code = parsing::parse_hex(text_.substr(at_, digits), digits);
    if (!code) fail("bad escape");
    at_ += digits;
    return *code;
  }

  Value parse_bare() {
    std::size_t begin = at_;
    while (!done() && std::string_view(",]}):\n").find(text_[at_]) == std::string_view::npos) ++at_;
    std::string_view word = text_.substr(begin, at_ - begin);
    while (!word.empty() && is_space(word.back())) word.remove_suffix(1);
    Value value;
    if (parsing::parse_word(word, value)) return value;
    at_ = begin;
    fail("not a literal");
  }

  std::string_view text_;
  std::size_t at_ = 0;
  parsing::ValueCount count_;
};

}  // namespace

Value parse_literal(std::string_view text) {
  parsing::check_size(text);
  return LiteralParser(text).parse();
}

}  // namespace yolort
