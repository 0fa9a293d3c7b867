#include "model/yaml.h"

#include "check.h"
#include "metadata_values.h"
#include "model/literal.h"

using namespace yolort;

namespace {

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
  test_yaml();
  test_yaml_refuses();
  return check::result();
}
