#include "model/yaml.h"

#include <string>
#include <utility>

#include "model/yaml_scanner.h"

namespace yolort {
namespace {

/// The parser, which uses the scanner: blocks, flow collections and tags.
class YamlParser : YamlScanner {
 public:
  explicit YamlParser(std::string_view text) : YamlScanner(text) {}

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
  // ---- blocks ----

  bool at_item() const { return peek() == '-' && blank_at(1); }

  /// A node indented deeper than `indent`. `fresh`: only dashes precede it on its line, so it may be a mapping.
  Value parse_node(int indent, bool fresh, int depth) {
    if (depth > parsing::max_depth) fail("nested deeper than " + std::to_string(parsing::max_depth) + " levels");
    const std::size_t start = line_start();
    if (fresh && text_.substr(start, at_ - start).find('\t') != npos) fail("a tab indents the line");
    if (fresh && at_item()) return parse_items(column(), depth);
    if (fresh && peek() == '?' && blank_at(1)) fail("keys with '? ' are not supported");
    if (fresh && at_key()) return parse_mapping(column(), depth);
    if (peek() == '|' || peek() == '>') return {block_scalar(indent)};
    if (peek() == '[' || peek() == '{') return parse_flow(depth);
    return scalar(indent, false, fresh);
  }

  /// Whether "key:" follows.
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
      count_.add();
      list.push_back(tagged(tag, empty ? Value{} : parse_node(indent, true, depth + 1)));
      skip_to_token();
    }
    return {std::move(list)};
  }

  Value parse_mapping(int indent, int depth) {
    Dict dict;
    while (!at_end() && !at_marker('-') && column() == indent && !at_item()) {
      if (peek() == '?' && blank_at(1)) fail("keys with '? ' are not supported");
      if (!at_key()) fail("expected 'key: value'");
      count_.add();
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
    if (depth > parsing::max_depth) fail("nested deeper than " + std::to_string(parsing::max_depth) + " levels");
    const bool is_list = text_[at_++] == '[';
    const char close = is_list ? ']' : '}';
    const auto node = [&]() -> Value {
      count_.add();
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

  /// Consumes the next tag; empty if there is none.
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
    fail("the tag " + std::string(tag) + " is not supported");
  }

  /// `!!str 08` is text, `!!int "8"` a number.
  static Value tagged(std::string_view tag, Value value) {
    if (tag == "!!str" && !value.text.empty()) return {value.text};
    const std::string* text = value.as<std::string>();
    if (tag.empty() || tag == "!!str" || !text) return value;
    Value word;
    return parsing::parse_word(*text, word) ? word : value;
  }

  parsing::ValueCount count_;
};

}  // namespace

Value parse_yaml(std::string_view text) {
  parsing::check_size(text);
  return YamlParser(text).parse();
}

}  // namespace yolort
