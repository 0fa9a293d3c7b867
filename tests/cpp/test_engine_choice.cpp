#include "core/engine_choice.h"

#include <cstdlib>
#include <string>
#include <utility>

#include "check.h"
#include "environment.h"
#include "platform/processor.h"

using namespace yolort;

namespace {

/// Replaces an engine with one that is never loaded.
void fake(const std::string& name, int priority, Format format, const std::string& why_not = "") {
  EngineEntry entry;
  entry.name = name;
  entry.priority = priority;
  entry.unavailable = [why_not] { return why_not; };
  entry.accepts = [format](const ModelSpec& spec) { return spec.format == format; };
  entry.takes_options = entry.computes_as_written = name == "onnxruntime";
  register_engine(std::move(entry));
}

void fake_all() {
  for (const EngineEntry& entry : all_engines()) unregister_engine(entry.name);
  fake("ncnn", 50, Format::ncnn);
  fake("onnxruntime", 40, Format::onnx);
  fake("openvino", 30, Format::onnx);
}

ModelSpec model(const std::string& precision = "", const std::string& engine = "") {
  ModelSpec spec;
  spec.layout.head = Head::raw;
  spec.path = "model.onnx";
  spec.precision = precision;
  spec.engine = engine;
  return spec;
}

std::string chosen(const ModelSpec& spec, const Options& options = {}) {
  return choose_engine(spec, options).entry.name;
}

void test_the_fastest_is_the_default() {
  check::set_variable("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_VNNI");
  CHECK(!has_bf16_arithmetic() || !is_x86);
  CHECK(chosen(model()) == "onnxruntime");
  ModelSpec boxes = model();
  boxes.layout.head = Head::boxes;
  for (const ModelSpec& spec : {model("int8"), boxes}) CHECK(chosen(spec) == (is_x86 ? "openvino" : "onnxruntime"));
  check::unset_variable("ONEDNN_MAX_CPU_ISA");
  const bool bf16 = is_x86 && has_bf16_arithmetic();
  CHECK(chosen(model()) == (bf16 ? "openvino" : "onnxruntime"));
  CHECK(chosen(model("int8", "onnxruntime")) == "onnxruntime");  // the model was made for it
  ModelSpec classifier = model();
  classifier.layout.head = Head::probs;
  classifier.layout.task = Task::classify;
  CHECK(chosen(classifier) == "onnxruntime");
  classifier.precision = "int8";
  CHECK(chosen(classifier) == (is_x86 ? "openvino" : "onnxruntime"));

  fake("openvino", 30, Format::onnx, "not installed");
  CHECK(chosen(model()) == "onnxruntime" && chosen(model("int8")) == "onnxruntime");
  fake_all();
}

void test_an_engine_of_the_user_comes_first() {
  fake("accelerator", 60, Format::onnx);
  CHECK(chosen(model()) == "accelerator");
  fake("accelerator", 0, Format::onnx);
  CHECK(chosen(model()) != "accelerator");
  unregister_engine("accelerator");
}

void test_what_else_is_asked_for_counts() {
  Options options;
  options.precision = "bf16";
  CHECK(chosen(model(), options) == "openvino" && chosen(model("bf16", "onnxruntime"), options) == "onnxruntime");
  options = {};
  options.engine_options["session.intra_op.allow_spinning"] = "0";
  CHECK(chosen(model("int8"), options) == "onnxruntime");
  options = {};
  options.device = "cuda:0";
  CHECK(chosen(model("int8"), options) == "onnxruntime");
}

void test_precisions_of_int8_models() {
  EngineEntry free, as_written;
  as_written.computes_as_written = true;
  const ModelSpec int8 = model("int8"), fp32 = model(), fp16 = model("fp16");
  CHECK(float_precision(int8, free, "int8") == "fp32" && float_precision(int8, free, "int8+bf16") == "bf16");
  CHECK(float_precision(int8, free, "bf16") == "bf16" && float_precision(int8, free, "").empty());
  CHECK(float_precision(int8, as_written, "int8").empty() && float_precision(int8, as_written, "fp32").empty());
  CHECK(float_precision(fp16, as_written, "fp16").empty() && float_precision(fp16, as_written, "fp32").empty());
  CHECK_THROWS(float_precision(fp32, free, "int8+bf16"), std::invalid_argument, "is not an INT8 model");
  CHECK_THROWS(float_precision(fp16, as_written, "bf16"), std::invalid_argument, "in the precision of the file, fp16");
  CHECK_THROWS(float_precision(int8, as_written, "int8+bf16"), std::invalid_argument,
               "export the model in that precision");
}

void test_explanations() {
  fake("openvino", 30, Format::onnx, "not installed");
  CHECK(choose_engine(model(), {}).why.find("fastest for ONNX") != std::string::npos || has_bf16_arithmetic());
  Options options;
  options.engine = "onnxruntime";
  CHECK(choose_engine(model(), options).why == "engine asks for it");
  CHECK(explain_others(model(), "onnxruntime", {}) == "\nncnn: does not read onnx\nopenvino: not installed");
  CHECK(explain_others(model(), "openvino", {}).find("onnxruntime: could run it, too") != std::string::npos);
  options.engine = "openvino";
  CHECK_THROWS(choose_engine(model(), options), EngineError, "not installed. Available for it: onnxruntime");
  fake_all();
}

}  // namespace

int main() {
  fake_all();
  test_the_fastest_is_the_default();
  test_an_engine_of_the_user_comes_first();
  test_what_else_is_asked_for_counts();
  test_precisions_of_int8_models();
  test_explanations();
  return check::result();
}
