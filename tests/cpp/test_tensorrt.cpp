// The parts of the TensorRT engine that need no GPU.
#include <fstream>

#include "check.h"
#include "core/engine.h"
#include "cuda/driver.h"
#include "engines/tensorrt/engine.h"
#include "platform/dynamic_library.h"

using namespace yolort;

namespace {

void test_plan_version() {
  std::string plan(64, '\0');
  plan.replace(0, 4, "ftrt").replace(24, 4, "\x08\x06\x01\x06", 4);
  const auto version = [](const std::string& bytes) {
    return plan_version(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size());
  };
  CHECK(version(plan) == "8.6.1");
  plan[24] = 10, plan[25] = 16, plan[26] = 0;
  CHECK(version(plan) == "10.16.0");
  plan[24] = 'x';
  CHECK(version(plan).empty());
  CHECK(version("ftrt").empty() && version("").empty());
}

void test_device() {
  CHECK(parse_cuda_device("") == 0 && parse_cuda_device("cuda") == 0 && parse_cuda_device("cuda:3") == 3);
  for (const char* wrong : {"cpu", "cuda:", "cuda:x", "cuda:-1", "cuda:1x", "vulkan"}) {
    CHECK_THROWS(parse_cuda_device(wrong), std::invalid_argument, "cuda:1");
  }
}

void test_libraries() {
  std::string why;
  CHECK(open_library("libm.so.6", &why) && why.empty());
  CHECK(!open_library("libnothing.so.1", &why) && why.empty());
  // A library that exists but lacks a dependency.
  CHECK(!open_library("liblacking.so.1", &why));
  CHECK(why.find("liblacking.so.1 needs libnothing.so.1: cannot open") == 0);
}

void test_without_a_gpu() {
  const EngineEntry entry = tensorrt_engine();
  if (entry.unavailable().empty()) return;  // there is one
  CHECK(Cuda::unavailable().empty() || entry.unavailable() == Cuda::unavailable());
  ModelSpec spec;
  spec.path = "model.engine";
  CHECK_THROWS(entry.load(spec, {}), EngineError, entry.unavailable().c_str());
  Options options;
  options.precision = "fp16";
  CHECK_THROWS(entry.load(spec, options), std::invalid_argument, "built with");
  TensorrtBuild build;
  build.onnx = "model.onnx";
  if (!Cuda::unavailable().empty()) CHECK_THROWS(build_tensorrt(build), EngineError, Cuda::unavailable().c_str());
}

}  // namespace

int main() {
  test_plan_version();
  test_device();
  test_libraries();
  test_without_a_gpu();
  return check::result();
}
