#include "core/input_format.h"

#include <limits>

#include "check.h"

using namespace yolort;

namespace {

InputFormat asked(const Options& options, InputFormat format = {}) {
  ask_input(format, options);
  return format;
}

void test_options() {
  Options options;
  CHECK(asked(options).channels == 0 && !asked(options).stretch);
  options.channels = "bgr";
  options.resize = "stretch";
  options.mean = {0.5f};
  options.stddev = {0.25f, 0.5f, 1};
  const InputFormat format = asked(options);
  CHECK(format.channels == 3 && format.bgr && format.stretch == true && format.mean.size() == 1 &&
        format.stddev.size() == 3);
  InputFormat said;
  said.stretch = said.bgr = true;
  Options other;
  other.channels = "rgb";
  other.resize = "letterbox";
  CHECK(asked(other, said).stretch == false && !asked(other, said).bgr);
  options.channels = "6";
  CHECK(asked(options).channels == 6);
  for (const char* text : {"0", "513", "-1", "3x", "gray", "rgba"}) {
    options.channels = text;
    CHECK_THROWS(asked(options), std::invalid_argument, "expected rgb, bgr or a number, 1 to 512");
  }
  options.channels.clear();
  options.resize = "crop";
  CHECK_THROWS(asked(options), std::invalid_argument, "letterbox or stretch");
}

void test_what_the_engine_takes() {
  ModelSpec spec;
  spec.path = "m.onnx";
  complete_input(spec, 6);
  CHECK(spec.input.channels == 6);
  CHECK_THROWS(complete_input(spec, 3), ModelError, "its graph takes 3 channel(s), its metadata or channels= says 6");
  spec.input.mean = {1, 2};
  CHECK_THROWS(complete_input(spec, 6), std::invalid_argument, "mean has 2 values");
  spec.input.mean = {std::numeric_limits<float>::infinity()};
  CHECK_THROWS(complete_input(spec, 6), std::invalid_argument, "mean is inf");
  spec.input.mean.clear();
  spec.input.stddev = {0};
  CHECK_THROWS(complete_input(spec, 6), std::invalid_argument, "std is 0");
  ModelSpec gray;
  gray.input.bgr = true;
  CHECK_THROWS(complete_input(gray, 1), std::invalid_argument, "takes 1 channel(s)");
}

}  // namespace

int main() {
  test_options();
  test_what_the_engine_takes();
  return check::result();
}
