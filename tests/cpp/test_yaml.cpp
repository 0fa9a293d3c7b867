#include "value.h"

#include "check.h"

using namespace yolort;

namespace {

std::string text(const Value* value) {
  const std::string* found = value ? value->as<std::string>() : nullptr;
  return found ? *found : "<no text>";
}

std::int64_t number(const Value* value) {
  const std::int64_t* found = value ? value->as<std::int64_t>() : nullptr;
  return found ? *found : -999;
}

void test_literals() {
  const Value names = parse_literal("{0: 'person', 1: \"driver's licence\", 2: 'a\\'b', 3: 'caf\\xe9', 4: '\\u4eba'}");
  const Dict& dict = *names.as<Dict>();
  CHECK(dict.size() == 5);
  CHECK(number(&dict[1].first) == 1);
  CHECK(text(&dict[1].second) == "driver's licence");
  CHECK(text(&dict[2].second) == "a'b");
  CHECK(text(&dict[3].second) == "caf\xC3\xA9");
  CHECK(text(&dict[4].second) == "\xE4\xBA\xBA");

  const Value json = parse_literal(R"({"format": 1, "strides": [8, 16, 32], "ok": true, "none": null, "x": -1.5e2,
                                       "pair": "\ud83d\ude00", "tuple": (640, 640,)})");
  CHECK(number(json.find("format")) == 1);
  CHECK(json.find("strides")->as<List>()->size() == 3);
  CHECK(*json.find("ok")->as<bool>());
  CHECK(json.find("none")->as<std::nullptr_t>());
  CHECK(*json.find("x")->as<double>() == -150);
  CHECK(text(json.find("pair")) == "\xF0\x9F\x98\x80");
  CHECK(json.find("tuple")->as<List>()->size() == 2);
  CHECK(json.find("missing") == nullptr);
  const Value json_limits = parse_literal(" 9223372036854775807 ");
  CHECK(number(&json_limits) == INT64_MAX);
  CHECK(parse_literal("99999999999999999999").as<double>());
}

void test_literals_refuse() {
  for (const char* bad : {"", "{", "[1", "{1 2}", "[1 2]", "'open", "'\\x4", "'\\ud800\\u0041'", "'\\U00110000'",
                          "__import__('os').system('id')", "{0: open('x')}", "1 2", "nan", "inf", "--1", "[1]]"}) {
    CHECK_THROWS(parse_literal(bad), ParseError, "character");
  }
  CHECK_THROWS(parse_literal(std::string(100000, '[')), ParseError, "nested deeper");
  CHECK_THROWS(parse_literal(std::string(2000000, ' ')), ParseError, "longer than");
}

void test_yaml() {
  const Value yaml = parse_yaml(
      "# comment\n"
      "description: Ultralytics YOLO26n model trained on a data set whose name is long enough that the dumper\n"
      "  folds it onto a second line\n"
      "stride: 32\n"
      "imgsz:\n"
      "- 384\n"
      "- 640\n"
      "names:\n"
      "  0: person\n"
      "  1: 'driver''s licence'\n"
      "  2: \"tab\\there\"\n"
      "  3: a b: c d\n"
      "  '4': 'no'\n"
      "args:\n"
      "  nms: false\n"
      "  sizes: [1, 2]\n"
      "  none: null\n"
      "empty:\n"
      "nested:\n"
      "- a: 1\n"
      "  b: 2\n"
      "- c\n"
      "yolort: '{\"format\": 1,\n"
      "  \"head\": \"raw\"}'\n");
  CHECK(text(yaml.find("description")).find("the dumper folds it") != std::string::npos);
  CHECK(number(yaml.find("stride")) == 32);
  CHECK(number(&yaml.find("imgsz")->as<List>()->at(1)) == 640);
  const Dict& names = *yaml.find("names")->as<Dict>();
  CHECK(names.size() == 5);
  CHECK(number(&names[0].first) == 0);
  CHECK(text(&names[1].second) == "driver's licence");
  CHECK(text(&names[2].second) == "tab\there");
  CHECK(text(&names[3].first) == "<no text>");
  CHECK(text(&names[3].second) == "a b: c d");
  CHECK(text(&names[4].second) == "no");
  CHECK(!*yaml.find("args")->find("nms")->as<bool>());
  CHECK(yaml.find("args")->find("sizes")->as<List>()->size() == 2);
  CHECK(yaml.find("empty")->as<std::nullptr_t>());
  CHECK(number(yaml.find("nested")->as<List>()->at(0).find("b")) == 2);
  CHECK(text(&yaml.find("nested")->as<List>()->at(1)) == "c");
  CHECK(parse_literal(text(yaml.find("yolort"))).find("head") != nullptr);
  CHECK(parse_yaml("").as<Dict>()->empty());
}

void test_yaml_refuses() {
  for (const char* bad : {"names: &a [1]\nother: *a\n", "x: !!python/object:os.system y\n", "x: | y\n  block\n",
                          "? a\n: b\n", "a: 1\n   b: 2\n  c: 3\nd\n", "a: [1, 2\n", "a: 'open\n"}) {
    CHECK_THROWS(parse_yaml(bad), ParseError, "line");
  }
  std::string deep;
  for (int i = 0; i < 200; ++i) deep += std::string(static_cast<std::size_t>(i), ' ') + "a:\n";
  CHECK_THROWS(parse_yaml(deep), ParseError, "nested deeper");
  std::string dashes;
  for (int i = 0; i < 200; ++i) dashes += "- ";
  CHECK_THROWS(parse_yaml("a:\n" + dashes + "\n"), ParseError, "nested deeper");
}

}  // namespace

int main() {
  test_literals();
  test_literals_refuse();
  test_yaml();
  test_yaml_refuses();
  return check::result();
}
