#include "model/literal.h"

#include "check.h"
#include "metadata_values.h"

using namespace yolort;

namespace {

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
  CHECK_THROWS(parse_literal(std::string((8 << 20) + 1, ' ')), ParseError, "longer than");
}

}  // namespace

int main() {
  test_literals();
  test_literals_refuse();
  return check::result();
}
