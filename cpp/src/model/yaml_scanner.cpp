#include "model/yaml_scanner.h"

#include <algorithm>
#include <cstdint>
#include <optional>

namespace yolort {

Value YamlScanner::scalar(int indent, bool flow, bool keys) {
  const char c = peek();
  if (c == '"' || c == '\'') return {quoted_scalar()};
  if (c == '&' || c == '*') fail("anchors and aliases are not supported");
  if (is_one_of(c, ",[]{}#|>%@`!") || (is_one_of(c, "-?:") && (blank_at(1) || (flow && c != '-')))) {
    fail(std::string("a value cannot begin with '") + c + "'");
  }
  const std::string text = plain_scalar(indent, flow, keys);
  if (text.empty()) fail("a value is missing");
  Value value;
  if (!parsing::parse_word(text, value)) value.data = text;
  return value;
}

/// Skips the part of a plain scalar up to a blank.
void YamlScanner::skip_plain_word(bool flow, bool keys) {
  while (!blank_at(0)) {
    const bool colon = keys && peek() == ':' && (blank_at(1) || (flow && is_one_of(peek(1), ",[]{}")));
    if (colon || (flow && is_one_of(peek(), ",?[]{}"))) return;
    ++at_;
  }
}

void YamlScanner::skip_plain(bool flow, bool keys) {
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

std::string YamlScanner::plain_scalar(int indent, bool flow, bool keys) {
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
                           !(peek() == ':' && blank_at(1)) && (flow ? !is_one_of(peek(), ",?[]{}") : column() > indent);
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

/// Consumes line breaks and the blanks around them. A single break becomes a blank; of several breaks, the first is
/// dropped.
std::string YamlScanner::fold() {
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

std::string YamlScanner::quoted_scalar() {
  const char quote = text_[at_++];
  std::string out;
  while (true) {
    if (done()) fail("a string has no closing quote");
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

void YamlScanner::parse_escape(std::string& out) {
  if (at_break()) {  // the line continues after its indentation
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
    case 'N': parsing::append_utf8(out, 0x85); return;
    case '_': parsing::append_utf8(out, 0xA0); return;
    case 'L': parsing::append_utf8(out, 0x2028); return;
    case 'P': parsing::append_utf8(out, 0x2029); return;
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

void YamlScanner::append_hex(std::string& out, std::size_t digits) {
  std::optional<std::uint32_t> code = parsing::parse_hex(text_.substr(std::min(at_, text_.size()), digits), digits);
  if (!code) fail("bad escape");
  at_ += digits;
  if (*code >= 0xD800 && *code < 0xDC00 && text_.substr(at_, 2) == "\\u") {  // a surrogate pair, as JSON writes them
    const std::optional<std::uint32_t> low = parsing::parse_hex(text_.substr(at_ + 2, 4), 4);
    if (low && *low >= 0xDC00 && *low < 0xE000) {
      at_ += 6;
      code = 0x10000 + ((*code - 0xD800) << 10) + (*low - 0xDC00);
    }
  }
  parsing::append_utf8(out, *code);
}

std::string YamlScanner::block_scalar(int indent) {
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
  const int min_indent = std::max(indent + 1, 1);
  int wanted = min_indent + deeper - 1;
  if (deeper == 0) {  // the indentation of the first line with text
    const std::size_t begin = at_;
    wanted = min_indent;
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

std::string YamlScanner::empty_lines(int indent) {
  std::string out;
  while (true) {
    for (int blanks = column(); peek() == ' ' && blanks < indent; ++blanks) ++at_;
    if (!at_break()) return out;
    out += take_break();
  }
}

}  // namespace yolort
