#include "value.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <optional>

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

/// A code point of so many hexadecimal digits.
std::optional<std::uint32_t> parse_hex(std::string_view text, std::size_t digits) {
  std::uint32_t code = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), code, 16);
  const bool whole = text.size() == digits && error == std::errc() && stop == text.data() + text.size();
  return whole && code <= 0x10FFFF ? std::optional(code) : std::nullopt;
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
      if (c == quote) return out;
      if (c == '\\') {
        parse_escape(out);
      } else {
        out += c;
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
      case '0':
        if (!done() && text_[at_] >= '0' && text_[at_] <= '9') fail("octal escapes are not read");
        out += '\0';
        return;
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
      case '\'':
      case '"':
      case '\\':
      case '/': out += c; return;
      default: fail("bad escape");
    }
  }

  std::uint32_t parse_hex(std::size_t digits) {
    const std::optional<std::uint32_t> code = yolort::parse_hex(text_.substr(at_, digits), digits);
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
    if (parse_word(word, value)) return value;
    at_ = begin;
    fail("not a literal");
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

/// Follows PyYAML's scanner: what is a line break, how lines are folded, where a plain scalar ends.
class YamlParser {
 public:
  explicit YamlParser(std::string_view text) : text_(text) {
    if (text_.substr(0, 3) == "\xEF\xBB\xBF") text_.remove_prefix(3);  // a byte order mark
  }

  Value parse() {
    skip_to_token();
    while (peek() == '%' && column() == 0) {
      skip_line();
      skip_to_token();
    }
    if (at_marker('-')) at_ += 3;
    skip_to_token();
    Value value = at_end() ? Value{Dict{}} : parse_node(-1, true, 0);
    skip_to_token();
    if (!at_end()) fail(at_marker('-') ? "a second document begins" : "text after the value, or a wrong indentation");
    return value;
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    const std::string_view before = text_.substr(0, at_);
    throw ParseError(what + " at line " + std::to_string(std::count(before.begin(), before.end(), '\n') + 1));
  }

  // ---- characters ----

  bool done() const { return at_ >= text_.size(); }
  /// '\0' behind the end.
  char peek(std::size_t ahead = 0) const { return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0'; }
  static bool is_one_of(char c, std::string_view set) { return c != '\0' && set.find(c) != npos; }

  /// Bytes of the line break at a place: \n, \r, \r\n, U+0085, U+2028, U+2029; 0 where there is none.
  std::size_t break_length(std::size_t at) const {
    const std::string_view rest = text_.substr(std::min(at, text_.size()), 3);
    if (rest.empty()) return 0;
    if (rest[0] == '\r') return rest.substr(0, 2) == "\r\n" ? 2 : 1;
    if (rest[0] == '\n') return 1;
    if (rest.substr(0, 2) == "\xC2\x85") return 2;
    return rest == "\xE2\x80\xA8" || rest == "\xE2\x80\xA9" ? 3 : 0;
  }
  bool at_break() const { return break_length(at_) > 0; }
  /// Whether a blank, a line break or the end stands so far ahead.
  bool blank_at(std::size_t ahead) const {
    return at_ + ahead >= text_.size() || is_one_of(peek(ahead), " \t") || break_length(at_ + ahead) > 0;
  }
  /// The text of the line break here, behind which the parser then is.
  std::string_view take_break() {
    const std::size_t length = break_length(at_);
    const std::string_view taken = text_.substr(at_, length);
    at_ += length;
    return length == 3 ? taken : "\n";
  }

  std::size_t line_start() const {
    std::size_t at = at_;
    while (at > 0 && !(text_[at - 1] == '\n' || text_[at - 1] == '\r') &&
           !(at > 1 && break_length(at - 2) == 2 && text_[at - 2] == '\xC2') &&
           !(at > 2 && break_length(at - 3) == 3)) {
      --at;
    }
    return at;
  }
  int column() const { return static_cast<int>(at_ - line_start()); }
  bool at_marker(char mark) const {
    return text_.substr(std::min(at_, text_.size()), 3) == std::string(3, mark) && blank_at(3) && column() == 0;
  }
  /// The end of the text or of the document.
  bool at_end() const { return done() || at_marker('.'); }

  void skip_blanks() {
    while (is_one_of(peek(), " \t")) ++at_;
  }
  void skip_line() {
    while (!done() && !at_break()) ++at_;
  }
  void skip_comment() {
    if (peek() == '#' && (at_ == line_start() || is_one_of(text_[at_ - 1], " \t"))) skip_line();
  }
  /// Behind blanks, comments and line breaks.
  void skip_to_token() {
    while (true) {
      skip_blanks();
      skip_comment();
      if (!at_break()) return;
      take_break();
    }
  }

  // ---- blocks ----

  bool at_item() const { return peek() == '-' && blank_at(1); }

  /// A node deeper than `indent`. `fresh`: nothing stands before it in its line but dashes, so that it may be a
  /// mapping.
  Value parse_node(int indent, bool fresh, int depth) {
    if (depth > max_depth) fail("nested deeper than " + std::to_string(max_depth) + " levels");
    const std::size_t start = line_start();
    if (fresh && text_.substr(start, at_ - start).find('\t') != npos) fail("a tab indents the line");
    if (fresh && at_item()) return parse_items(column(), depth);
    if (fresh && peek() == '?' && blank_at(1)) fail("keys with '? ' are not read");
    if (fresh && at_key()) return parse_mapping(column(), depth);
    if (peek() == '|' || peek() == '>') return {block_scalar(indent)};
    if (peek() == '[' || peek() == '{') return parse_flow(depth);
    return scalar(indent, false, fresh);
  }

  /// Whether "key:" stands here.
  bool at_key() {
    const std::size_t start = at_;
    bool found = false;
    take_tag();
    if (peek() != '[' && peek() != '{' && peek() != '|' && peek() != '>') {
      const bool quoted = peek() == '"' || peek() == '\'';
      if (quoted) {
        quoted_scalar();
      } else {
        skip_plain(false, true);
      }
      skip_blanks();
      found = peek() == ':' && blank_at(1);
      const std::string_view key = text_.substr(start, at_ - start);
      if (key.find_first_of("\r\n") != npos) found = false;
    }
    at_ = start;
    return found;
  }

  Value parse_items(int indent, int depth) {
    List list;
    while (!at_end() && column() == indent && at_item()) {
      ++at_;
      skip_blanks();
      const std::string_view tag = take_tag();
      skip_comment();
      const bool below = at_break() || done();
      skip_to_token();
      const bool empty = at_end() || (below && column() <= indent);
      list.push_back(tagged(tag, empty ? Value{} : parse_node(indent, true, depth + 1)));
      skip_to_token();
    }
    return {std::move(list)};
  }

  Value parse_mapping(int indent, int depth) {
    Dict dict;
    while (!at_end() && !at_marker('-') && column() == indent && !at_item()) {
      if (peek() == '?' && blank_at(1)) fail("keys with '? ' are not read");
      if (!at_key()) fail("expected 'key: value'");
      const std::string_view key_tag = take_tag();
      Value key = tagged(key_tag, scalar(indent, false, true));
      skip_blanks();
      ++at_;
      skip_blanks();
      const std::string_view tag = take_tag();
      skip_comment();
      const bool below = at_break() || done();
      skip_to_token();
      Value value;
      if (!at_end() && (!below || column() > indent)) {
        value = parse_node(indent, below, depth + 1);
      } else if (!at_end() && column() == indent && at_item()) {
        value = parse_items(indent, depth + 1);
      }
      dict.emplace_back(std::move(key), tagged(tag, std::move(value)));
      skip_to_token();
    }
    return {std::move(dict)};
  }

  // ---- flow collections ----

  Value parse_flow(int depth) {
    if (depth > max_depth) fail("nested deeper than " + std::to_string(max_depth) + " levels");
    const bool is_list = text_[at_++] == '[';
    const char close = is_list ? ']' : '}';
    const auto node = [&]() -> Value {
      if (is_one_of(peek(), ",]}:")) return {};
      const std::string_view tag = take_tag();
      skip_to_token();
      return tagged(tag, peek() == '[' || peek() == '{' ? parse_flow(depth + 1) : scalar(-1, true, true));
    };
    List list;
    Dict dict;
    while (true) {
      skip_to_token();
      if (peek() == close) break;
      if (done() || peek() == ',') fail("a value is missing");
      Value first = node();
      skip_to_token();
      if (is_list) {
        list.push_back(std::move(first));
      } else {
        Value value;
        if (peek() == ':') {
          ++at_;
          skip_to_token();
          value = node();
          skip_to_token();
        }
        dict.emplace_back(std::move(first), std::move(value));
      }
      if (peek() == ',') {
        ++at_;
      } else if (peek() != close) {
        fail(std::string("expected ',' or '") + close + "'");
      }
    }
    ++at_;
    return is_list ? Value{std::move(list)} : Value{std::move(dict)};
  }

  // ---- tags ----

  /// The tag that stands here, behind which the parser then is; empty where there is none.
  std::string_view take_tag() {
    if (peek() != '!') return {};
    const std::size_t begin = at_;
    while (!blank_at(0) && !is_one_of(peek(), ",[]{}")) ++at_;
    const std::string_view tag = text_.substr(begin, at_ - begin);
    for (const std::string_view known :
         {"!!str", "!!int", "!!float", "!!bool", "!!null", "!!seq", "!!map", "!!python/tuple"}) {
      if (tag != known) continue;
      skip_blanks();
      return tag;
    }
    fail("the tag " + std::string(tag) + " is not read");
  }

  /// `!!str 08` is text, `!!int "8"` a number.
  static Value tagged(std::string_view tag, Value value) {
    if (tag == "!!str" && !value.text.empty()) return {value.text};
    const std::string* text = value.as<std::string>();
    if (tag.empty() || tag == "!!str" || !text) return value;
    Value word;
    return parse_word(*text, word) ? word : value;
  }

  // ---- scalars ----

  /// `keys`: "word: " is a key. Where none may stand, behind a key in its line, it is text.
  Value scalar(int indent, bool flow, bool keys) {
    const char c = peek();
    if (c == '"' || c == '\'') return {quoted_scalar()};
    if (c == '&' || c == '*') fail("anchors and aliases are not read");
    if (is_one_of(c, ",[]{}#|>%@`!") || (is_one_of(c, "-?:") && (blank_at(1) || (flow && c != '-')))) {
      fail(std::string("no value begins with '") + c + "'");
    }
    const std::string text = plain_scalar(indent, flow, keys);
    if (text.empty()) fail("a value is missing");
    Value value;
    if (!parse_word(text, value)) value.data = text;
    return value;
  }

  /// Behind the part of a plain scalar without blanks that stands here.
  void skip_plain_word(bool flow, bool keys) {
    while (!blank_at(0)) {
      const bool colon = keys && peek() == ':' && (blank_at(1) || (flow && is_one_of(peek(1), ",[]{}")));
      if (colon || (flow && is_one_of(peek(), ",?[]{}"))) return;
      ++at_;
    }
  }
  /// Behind the last word of the plain scalar in this line.
  void skip_plain(bool flow, bool keys) {
    while (true) {
      skip_plain_word(flow, keys);
      const std::size_t end = at_;
      skip_blanks();
      const std::size_t word = at_;
      if (peek() != '#') skip_plain_word(flow, keys);
      if (at_ > word) continue;
      at_ = end;
      return;
    }
  }

  std::string plain_scalar(int indent, bool flow, bool keys) {
    std::string out;
    while (true) {
      const std::size_t begin = at_;
      skip_plain(flow, keys);
      out += text_.substr(begin, at_ - begin);
      const std::size_t end = at_;
      skip_blanks();
      if (at_break()) {
        const std::string folded = fold();
        const bool goes_on = !done() && peek() != '#' && !at_marker('-') && !at_marker('.') &&
                             !(peek() == ':' && blank_at(1)) &&
                             (flow ? !is_one_of(peek(), ",?[]{}") : column() > indent);
        if (goes_on) {
          out += folded;
          keys = true;
          continue;
        }
      }
      at_ = end;
      return out;
    }
  }

  /// What the line breaks here mean, and the blanks around them: one is a blank, of more all but the first are kept.
  std::string fold() {
    const std::string_view first = take_break();
    std::string more;
    while (true) {
      skip_blanks();
      if (!at_break()) break;
      more += take_break();
    }
    if (first != "\n") return std::string(first) + more;
    return more.empty() ? " " : more;
  }

  std::string quoted_scalar() {
    const char quote = text_[at_++];
    std::string out;
    while (true) {
      if (done()) fail("a string does not end");
      if (peek() == quote) {
        ++at_;
        if (quote == '"' || peek() != '\'') return out;
        out += '\'';
        ++at_;
      } else if (quote == '"' && peek() == '\\') {
        ++at_;
        parse_escape(out);
      } else if (is_one_of(peek(), " \t") || at_break()) {
        const std::size_t begin = at_;
        skip_blanks();
        out += at_break() ? fold() : std::string(text_.substr(begin, at_ - begin));
      } else {
        out += text_[at_++];
      }
    }
  }

  void parse_escape(std::string& out) {
    if (at_break()) {  // the line goes on, its indentation aside
      take_break();
      while (true) {
        skip_blanks();
        if (!at_break()) return;
        out += take_break();
      }
    }
    const char c = peek();
    ++at_;
    switch (c) {
      case '0': out += '\0'; return;
      case 'a': out += '\a'; return;
      case 'b': out += '\b'; return;
      case 't':
      case '\t': out += '\t'; return;
      case 'n': out += '\n'; return;
      case 'v': out += '\v'; return;
      case 'f': out += '\f'; return;
      case 'r': out += '\r'; return;
      case 'e': out += '\x1b'; return;
      case 'N': append_utf8(out, 0x85); return;
      case '_': append_utf8(out, 0xA0); return;
      case 'L': append_utf8(out, 0x2028); return;
      case 'P': append_utf8(out, 0x2029); return;
      case 'x': append_hex(out, 2); return;
      case 'u': append_hex(out, 4); return;
      case 'U': append_hex(out, 8); return;
      case ' ':
      case '"':
      case '\'':
      case '\\':
      case '/': out += c; return;
      default: fail("bad escape");
    }
  }

  void append_hex(std::string& out, std::size_t digits) {
    std::optional<std::uint32_t> code = parse_hex(text_.substr(std::min(at_, text_.size()), digits), digits);
    if (!code) fail("bad escape");
    at_ += digits;
    if (*code >= 0xD800 && *code < 0xDC00 && text_.substr(at_, 2) == "\\u") {  // a surrogate pair, as JSON writes them
      const std::optional<std::uint32_t> low = parse_hex(text_.substr(at_ + 2, 4), 4);
      if (low && *low >= 0xDC00 && *low < 0xE000) {
        at_ += 6;
        code = 0x10000 + ((*code - 0xD800) << 10) + (*low - 0xDC00);
      }
    }
    append_utf8(out, *code);
  }

  /// Of `|`, every line as it is, or `>`, folded, below a node at `indent`.
  std::string block_scalar(int indent) {
    const bool folded = text_[at_++] == '>';
    char chomping = ' ';
    int deeper = 0;
    for (int i = 0; i < 2; ++i) {
      if (is_one_of(peek(), "+-")) {
        chomping = text_[at_++];
      } else if (is_one_of(peek(), "123456789")) {
        deeper = text_[at_++] - '0';
      }
    }
    skip_blanks();
    skip_comment();
    if (!at_break() && !done()) fail("text after the head of a block scalar");
    if (!done()) take_break();
    const int least = std::max(indent + 1, 1);
    int wanted = least + deeper - 1;
    if (deeper == 0) {  // that of the first line with text
      const std::size_t begin = at_;
      wanted = least;
      for (bool more = true; more; more = at_break()) {
        if (at_break()) take_break();
        const std::size_t start = at_;
        while (peek() == ' ') ++at_;
        wanted = std::max(wanted, static_cast<int>(at_ - start));
      }
      at_ = begin;
    }
    std::string out, last;
    std::string empty = empty_lines(wanted);
    while (!done() && column() == wanted && !(wanted == 0 && (at_marker('-') || at_marker('.')))) {
      out += empty;
      const bool text_first = !is_one_of(peek(), " \t");
      const std::size_t begin = at_;
      skip_line();
      out += text_.substr(begin, at_ - begin);
      last = done() ? "" : std::string(take_break());
      empty = empty_lines(wanted);
      if (done() || column() != wanted) break;
      if (!(folded && last == "\n" && text_first && !is_one_of(peek(), " \t"))) {
        out += last;
      } else if (empty.empty()) {
        out += ' ';
      }
    }
    if (chomping != '-') out += last;
    if (chomping == '+') out += empty;
    return out;
  }
  std::string empty_lines(int indent) {
    std::string out;
    while (true) {
      for (int blanks = column(); peek() == ' ' && blanks < indent; ++blanks) ++at_;
      if (!at_break()) return out;
      out += take_break();
    }
  }

  static constexpr std::size_t npos = std::string_view::npos;
  std::string_view text_;
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
  return LiteralParser(text).parse();
}

Value parse_yaml(std::string_view text) {
  check_size(text);
  return YamlParser(text).parse();
}

std::optional<std::string> read_text(const std::filesystem::path& path, std::size_t max_bytes) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) return std::nullopt;
  std::ifstream file(path, std::ios::binary);
  std::string text(max_bytes + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));  // an error sets badbit
  if (!file.is_open() || file.bad()) return std::nullopt;
  text.resize(static_cast<std::size_t>(file.gcount()));
  return text.size() > max_bytes ? std::nullopt : std::optional(std::move(text));
}

}  // namespace yolort
