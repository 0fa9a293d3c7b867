// The characters of YAML: line breaks, columns, comments and scalars.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>

#include "model/value.h"

namespace yolort {

/// Follows PyYAML's scanner for line breaks, line folding and the end of plain scalars.
class YamlScanner {
 protected:
  explicit YamlScanner(std::string_view text) : text_(text) {
    if (text_.substr(0, 3) == "\xEF\xBB\xBF") text_.remove_prefix(3);  // a byte order mark
  }

  [[noreturn]] void fail(const std::string& what) const {
    const std::string_view before = text_.substr(0, at_);
    throw ParseError(what + " at line " + std::to_string(std::count(before.begin(), before.end(), '\n') + 1));
  }

  // ---- characters ----

  bool done() const { return at_ >= text_.size(); }
  /// '\0' after the end.
  char peek(std::size_t ahead = 0) const { return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0'; }
  static bool is_one_of(char c, std::string_view set) { return c != '\0' && set.find(c) != npos; }

  /// Bytes of the line break at a place: \n, \r, \r\n, U+0085, U+2028, U+2029; 0 if there is none.
  std::size_t break_length(std::size_t at) const {
    const std::string_view rest = text_.substr(std::min(at, text_.size()), 3);
    if (rest.empty()) return 0;
    if (rest[0] == '\r') return rest.substr(0, 2) == "\r\n" ? 2 : 1;
    if (rest[0] == '\n') return 1;
    if (rest.substr(0, 2) == "\xC2\x85") return 2;
    return rest == "\xE2\x80\xA8" || rest == "\xE2\x80\xA9" ? 3 : 0;
  }
  bool at_break() const { return break_length(at_) > 0; }
  /// Whether a blank, a line break or the end is `ahead` bytes further on.
  bool blank_at(std::size_t ahead) const {
    return at_ + ahead >= text_.size() || is_one_of(peek(ahead), " \t") || break_length(at_ + ahead) > 0;
  }
  /// Consumes the next line break and returns it.
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
  /// Skips blanks, comments and line breaks.
  void skip_to_token() {
    while (true) {
      skip_blanks();
      skip_comment();
      if (!at_break()) return;
      take_break();
    }
  }

  // ---- scalars ----

  /// A plain or quoted scalar. `keys`: "word: " is a key; after a key in the same line it is text instead.
  Value scalar(int indent, bool flow, bool keys);
  /// Skips to the end of the plain scalar in this line.
  void skip_plain(bool flow, bool keys);
  std::string quoted_scalar();
  /// A block scalar below a node at `indent`: `|` keeps its lines, `>` folds them.
  std::string block_scalar(int indent);

  static constexpr std::size_t npos = std::string_view::npos;
  std::string_view text_;
  std::size_t at_ = 0;

 private:
  void skip_plain_word(bool flow, bool keys);
  std::string plain_scalar(int indent, bool flow, bool keys);
  std::string fold();
  void parse_escape(std::string& out);
  void append_hex(std::string& out, std::size_t digits);
  std::string empty_lines(int indent);
};

}  // namespace yolort
