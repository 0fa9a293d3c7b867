#include "value.h"

#include <charconv>
#include <cmath>
#include <cstdlib>

namespace yolort {
namespace {

constexpr std::size_t max_size = 1 << 20;
constexpr int max_depth = 32;

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

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

/// A number in full, or nothing.
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

class LiteralParser {
 public:
  /// `yaml`: single quotes double themselves and bare words are strings.
  LiteralParser(std::string_view text, bool yaml) : text_(text), yaml_(yaml) {}

  Value parse() {
    Value value = parse_value(0);
    const std::size_t end = at_;
    skip_space();
    const bool comment = yaml_ && at_ > end && !done() && text_[at_] == '#';
    if (!done() && !comment) fail("text after the value");
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
    if (depth > max_depth) fail("nested deeper than " + std::to_string(max_depth) + " levels");
    skip_space();
    if (done()) fail("a value is missing");
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
      if (done()) fail("a string does not end");
      char c = text_[at_++];
      if (c == quote) {
        if (!(yaml_ && quote == '\'' && !done() && text_[at_] == '\'')) return out;
        ++at_;
      } else if (c == '\\' && !(yaml_ && quote == '\'')) {
        parse_escape(out);
        continue;
      }
      out += c;
      const std::size_t size = out.size();
      if (yaml_ && size >= 3 &&
          (out.compare(size - 3, 3, "\xE2\x80\xA8") == 0 || out.compare(size - 3, 3, "\xE2\x80\xA9") == 0)) {
        while (!done() && text_[at_] == ' ') ++at_;  // U+2028 and U+2029 are line breaks: an indentation follows
      }
    }
  }

  void parse_escape(std::string& out) {
    if (done()) fail("a string does not end");
    char c = text_[at_++];
    switch (c) {
      case 'n': out += '\n'; return;
      case 't': out += '\t'; return;
      case 'r': out += '\r'; return;
      case 'b': out += '\b'; return;
      case 'f': out += '\f'; return;
      case 'a': out += '\a'; return;
      case 'v': out += '\v'; return;
      case '0': out += '\0'; return;
      case 'x': append_utf8(out, parse_hex(2)); return;
      case 'u': {
        std::uint32_t code = parse_hex(4);
        if (code >= 0xD800 && code < 0xDC00 && text_.substr(at_, 2) == "\\u") {  // JSON's surrogate pairs
          at_ += 2;
          std::uint32_t low = parse_hex(4);
          if (low < 0xDC00 || low > 0xDFFF) fail("half a surrogate pair");
          code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
        }
        append_utf8(out, code);
        return;
      }
      case 'U': append_utf8(out, parse_hex(8)); return;
      default: break;
    }
    switch (yaml_ ? c : '\0') {
      case 'e': out += '\x1b'; return;
      case 'N': append_utf8(out, 0x85); return;
      case '_': append_utf8(out, 0xA0); return;
      case 'L': append_utf8(out, 0x2028); return;
      case 'P': append_utf8(out, 0x2029); return;
      default: out += c; return;  // \' \" \\ \/ and escaped blanks of folded YAML
    }
  }

  std::uint32_t parse_hex(std::size_t digits) {
    std::uint32_t code = 0;
    const char* begin = text_.data() + at_;
    if (text_.size() - at_ < digits) fail("a string does not end");
    auto [stop, error] = std::from_chars(begin, begin + digits, code, 16);
    if (error != std::errc() || stop != begin + digits || code > 0x10FFFF) fail("bad escape");
    at_ += digits;
    return code;
  }

  Value parse_bare() {
    std::size_t begin = at_;
    const std::string_view stops = yaml_ ? ",]}:" : ",]}):";
    while (!done() && stops.find(text_[at_]) == std::string_view::npos && text_[at_] != '\n') ++at_;
    std::string_view word = text_.substr(begin, at_ - begin);
    while (!word.empty() && is_space(word.back())) word.remove_suffix(1);
    Value value;
    if (parse_word(word, value)) return value;
    if (yaml_ && !word.empty()) return {std::string(word)};
    at_ = begin;
    fail("not a literal");
  }

  std::string_view text_;
  bool yaml_;
  std::size_t at_ = 0;
};

class YamlParser {
 public:
  explicit YamlParser(std::string_view text) {
    if (text.substr(0, 3) == "\xEF\xBB\xBF") text.remove_prefix(3);  // a byte order mark
    int number = 0, blank = 0;
    while (!text.empty()) {
      std::size_t end = std::min(text.find('\n'), text.size());
      std::string_view line = text.substr(0, end);
      text.remove_prefix(std::min(end + 1, text.size()));
      ++number;
      while (!line.empty() && is_space(line.back())) line.remove_suffix(1);
      std::size_t indent = line.find_first_not_of(' ');
      if (indent == npos) {
        ++blank;
        continue;
      }
      if (line == "---" || (line[0] == '%' && lines_.empty())) continue;
      if (line == "...") break;
      lines_.push_back({static_cast<int>(indent), number, blank, line.substr(indent)});
      blank = 0;
    }
  }

  Value parse() {
    skip_comments();
    if (done()) return {Dict{}};
    Value value = parse_block(lines_[at_].indent, 0);
    if (!done()) fail("unexpected indentation");
    return value;
  }

 private:
  struct Line {
    int indent;
    int number;
    int blank;  ///< empty lines before it
    std::string_view text;
  };

  [[noreturn]] void fail(const std::string& what) const {
    throw ParseError(what + " at line " + std::to_string(lines_[std::min(at_, lines_.size() - 1)].number));
  }
  bool done() const { return at_ >= lines_.size(); }
  /// Where a value may begin: a '#' within a quoted scalar is none.
  void skip_comments() {
    while (!done() && lines_[at_].text[0] == '#') ++at_;
  }
  void next_line() {
    ++at_;
    skip_comments();
  }
  static bool is_item(std::string_view text) { return text == "-" || text.substr(0, 2) == "- "; }

  Value parse_block(int indent, int depth) {
    if (depth > max_depth) fail("nested deeper than " + std::to_string(max_depth) + " levels");
    return is_item(lines_[at_].text) ? parse_items(indent, depth) : parse_mapping(indent, depth);
  }

  Value parse_items(int indent, int depth) {
    List list;
    while (!done() && lines_[at_].indent == indent && is_item(lines_[at_].text)) {
      std::string_view rest = lines_[at_].text.substr(1);
      std::size_t blank = std::min(rest.find_first_not_of(blanks), rest.size());
      if (blank == rest.size() || rest[blank] == '#') {
        next_line();
        bool deeper = !done() && lines_[at_].indent > indent;
        list.push_back(deeper ? parse_block(lines_[at_].indent, depth + 1) : Value{});
      } else if (int column = indent + 1 + static_cast<int>(blank); find_colon(rest.substr(blank)) != npos) {
        lines_[at_].indent = column;  // "- key: value": a mapping whose first line follows the dash
        lines_[at_].text = rest.substr(blank);
        list.push_back(parse_block(column, depth + 1));
      } else {
        list.push_back(parse_scalar(rest.substr(blank), indent));
      }
    }
    return {std::move(list)};
  }

  Value parse_mapping(int indent, int depth) {
    Dict dict;
    while (!done() && lines_[at_].indent == indent && !is_item(lines_[at_].text)) {
      std::string_view text = lines_[at_].text;
      if (text[0] == '\t') fail("a tab indents the line");
      if (text == "?" || text.substr(0, 2) == "? ") fail("keys with '? ' are not read");
      std::size_t colon = find_colon(text);
      if (colon == npos) fail("expected 'key: value'");
      refuse_special(text);
      Value key = scalar(text.substr(0, colon));
      std::string_view rest = text.substr(colon + 1);
      std::size_t blank = rest.find_first_not_of(blanks);
      if (blank == npos || rest[blank] == '#') {
        next_line();
        dict.emplace_back(std::move(key), parse_nested(indent, depth));
      } else {
        dict.emplace_back(std::move(key), parse_scalar(rest.substr(blank), indent));
      }
    }
    return {std::move(dict)};
  }

  /// What stands below a key: a deeper block, a list at the key's own indent, or nothing.
  Value parse_nested(int indent, int depth) {
    if (done()) return {};
    if (lines_[at_].indent > indent) return parse_block(lines_[at_].indent, depth + 1);
    if (lines_[at_].indent == indent && is_item(lines_[at_].text)) return parse_items(indent, depth + 1);
    return {};
  }

  /// A scalar or flow collection that starts on the current line and is folded over the deeper lines below it: a line
  /// break is a blank, empty lines are line breaks.
  Value parse_scalar(std::string_view first, int indent) {
    refuse_special(first);
    const bool plain = std::string_view("\"'[{").find(first[0]) == npos;
    std::string text(plain ? without_comment(first) : first);
    bool ended = plain && text.size() < first.size();
    ++at_;
    while (!done() && !ended && lines_[at_].indent > indent) {
      const Line& line = lines_[at_];
      if (plain && line.text[0] == '#') break;
      if (first[0] == '"' && (text.size() - 1 - text.find_last_not_of('\\')) % 2 == 1) {
        text.pop_back();  // an escaped line break
      } else {
        text += line.blank ? std::string(static_cast<std::size_t>(line.blank), '\n') : " ";
      }
      const std::string_view more = plain ? without_comment(line.text) : line.text;
      ended = more.size() < line.text.size();
      text += more;
      ++at_;
    }
    Value value = scalar(text);
    skip_comments();
    return value;
  }

  void refuse_special(std::string_view text) const {
    if (std::string_view("&*!|>%@`").find(text[0]) != npos) fail("anchors, tags and block scalars are not read");
  }

  /// Of an unquoted scalar.
  static std::string_view without_comment(std::string_view text) {
    for (std::size_t at = text.find('#'); at != npos; at = text.find('#', at + 1)) {
      if (at && is_space(text[at - 1])) return text.substr(0, at);
    }
    return text;
  }

  Value scalar(std::string_view text) const {
    while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
    if (text.empty()) return {};
    if (text.front() == '"' || text.front() == '\'' || text.front() == '[' || text.front() == '{') {
      try {
        return LiteralParser(text, true).parse();
      } catch (const ParseError& error) {
        fail_before(error.what());
      }
    }
    Value value;
    if (parse_word(text, value)) return value;
    return {std::string(text)};
  }

  /// For a scalar, which ends where the current line begins.
  [[noreturn]] void fail_before(const std::string& what) const {
    throw ParseError(what + " at line " + std::to_string(lines_[at_ ? at_ - 1 : 0].number));
  }

  /// The ':' that ends the key, outside quotes; npos when the text is no "key: value".
  static std::size_t find_colon(std::string_view text) {
    char quote = 0;
    for (std::size_t i = 0; i < text.size(); ++i) {
      char c = text[i];
      if (quote) {
        if (c == '\\' && quote == '"')
          ++i;
        else if (c == quote)
          quote = 0;
      } else if ((c == '"' || c == '\'') && i == 0) {
        quote = c;
      } else if (c == ':' && (i + 1 == text.size() || text[i + 1] == ' ' || text[i + 1] == '\t')) {
        return i;
      } else if ((i == 0 && (c == '[' || c == '{')) || (c == '#' && i && is_space(text[i - 1]))) {
        return npos;
      }
    }
    return npos;
  }

  static constexpr std::string_view blanks = " \t";
  static constexpr std::size_t npos = std::string_view::npos;
  std::vector<Line> lines_;
  std::size_t at_ = 0;
};

void check_size(std::string_view text) {
  if (text.size() > max_size) throw ParseError("longer than " + std::to_string(max_size) + " bytes");
}

}  // namespace

const Value* Value::find(std::string_view key) const {
  const Dict* dict = as<Dict>();
  if (!dict) return nullptr;
  for (const auto& [name, value] : *dict) {
    const std::string* text = name.as<std::string>();
    if (text && *text == key) return &value;
  }
  return nullptr;
}

Value parse_literal(std::string_view text) {
  check_size(text);
  return LiteralParser(text, false).parse();
}

Value parse_yaml(std::string_view text) {
  check_size(text);
  return YamlParser(text).parse();
}

}  // namespace yolort
