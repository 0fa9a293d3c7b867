// The Detector on a test engine: batches, clones, errors, and checks before and after a run.
#include <cstdlib>
#include <map>
#include <thread>

#include "check.h"
#include "environment.h"
#include "fake_engine.h"
#include "onnx_bytes.h"
#include "platform/warning.h"

using namespace yolort;

namespace {

const FakeModel fake_model("detector");
const std::string& model = fake_model.path;

Options options() {
  Options out;
  out.names = {"zero", "one"};
  out.imgsz = {32, 32};
  return out;
}

std::vector<std::uint8_t> gray(int level) {
  return std::vector<std::uint8_t>(32 * 32 * 3, static_cast<std::uint8_t>(level));
}
Image image(const std::vector<std::uint8_t>& pixels) { return {pixels.data(), 32, 32}; }

void test_one_image() {
  Detector detector(model, options());
  CHECK(detector.engine() == "fake" && detector.device() == "fake device" && detector.head() == "boxes");
  CHECK(detector.names()[1] == "one");
  CHECK((detector.imgsz() == std::array<int, 2>{32, 32}));
  const auto pixels = gray(204);
  const Detections found = detector.detect(image(pixels));
  CHECK(found.size() == 1 && found.classes[0] == 1 && found.boxes[0].x1 == 12);
  CHECK(detector.speed().pre > 0 && detector.speed().inference > 0);
  Thresholds strict;
  strict.conf = 0.9f;
  CHECK(detector.detect(image(pixels), strict).empty());
}

void test_batches() {
  std::vector<std::vector<std::uint8_t>> pixels;
  std::vector<Image> images;
  for (int i = 0; i < 19; ++i) pixels.push_back(gray(100 + 5 * i));
  for (const auto& one : pixels) images.push_back(image(one));
  for (const auto& [batch, expected_runs] : {std::pair{0, 2}, {1, 19}, {4, 5}}) {
    FakeEngine::batch = batch;
    Detector detector(model, options());
    FakeEngine::runs = 0;
    const std::vector<Detections> found = detector.detect(images, {});
    CHECK(FakeEngine::runs == expected_runs);
    CHECK(found.size() == 19);
    for (std::size_t i = 0; i < found.size(); ++i) {
      CHECK(found[i].size() == 1 &&
            std::abs(found[i].scores[0] - (100.0f + 5.0f * static_cast<float>(i)) / 255) < 1e-5);
    }
  }
  FakeEngine::batch = 0;
  Detector detector(model, options());
  CHECK(detector.detect(std::vector<Image>{}, {}).empty());
}

void test_infer() {
  for (const int batch : {0, 2}) {
    FakeEngine::batch = batch;
    Detector detector(model, options());
    CHECK(detector.batch() == batch);
    const auto pixels = gray(255);
    const Image wide{pixels.data(), 32, 8};  // its first pixel is padding
    CHECK(detector.detect(wide).size() == 1);
    std::vector<float> input(2 * 3 * 32 * 32, 0.25f);
    const std::vector<Array> outputs = detector.infer(input.data(), 2);
    CHECK(outputs.size() == 1 && (outputs[0].shape == std::vector<int>{2, 6, 4}));
    CHECK(outputs[0].values.size() == 48 && outputs[0].values[20] == 0.25f && outputs[0].values[44] == 0.25f);
    CHECK(std::abs(detector.detect(wide).scores.at(0) - 114.0f / 255) < 1e-5);
    for (const int wrong : {0, batch ? 1 : 17}) {
      CHECK_THROWS(detector.infer(input.data(), wrong), std::invalid_argument, "batch");
    }
  }
  FakeEngine::batch = 0;
}

void test_padding_is_written_again_when_the_shape_changes() {
  Detector detector(model, options());
  const auto pixels = gray(255);
  const Image wide{pixels.data(), 32, 8}, square = image(pixels);  // the first pixel of `wide` is padding: 114
  for (int i = 0; i < 2; ++i) {
    CHECK(std::abs(detector.detect(wide).scores.at(0) - 114.0f / 255) < 1e-5);
    CHECK(std::abs(detector.detect(square).scores.at(0) - 1.0f) < 1e-5);
  }
  // Another batch size is another buffer, even at the same address.
  for (const std::size_t count : {2, 1, 2}) {
    for (const Detections& found : detector.detect(std::vector<Image>(count, wide), {})) {
      CHECK(found.size() == 1 && std::abs(found.scores[0] - 114.0f / 255) < 1e-5);
    }
  }
}

void test_clones_run_side_by_side() {
  Detector detector(model, options());
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([t, mine = detector.clone(), &detector]() mutable {
      const auto pixels = gray(100 + 10 * t);
      for (int i = 0; i < 50; ++i) {
        if (mine.detect(image(pixels)).size() != 1) std::abort();
        if (detector.detect(image(pixels)).size() != 1) std::abort();  // shared: serialised
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

void test_refuses() {
  const auto with = [](auto change) {
    Options out = options();
    change(out);
    Detector detector(model, out);
  };
  for (const int threads : {0, -1}) {
    CHECK_THROWS(with([&](Options& o) { o.threads = threads; }), std::invalid_argument, "threads");
  }
  CHECK_THROWS(with([](Options& o) { o.conf = 2; }), std::invalid_argument, "conf");
  CHECK_THROWS(with([](Options& o) { o.classes = {7}; }), std::invalid_argument, "not a class");
  CHECK_THROWS(with([](Options& o) { o.precision = "int3"; }), std::invalid_argument, "precision");
  CHECK_THROWS(with([](Options& o) { o.imgsz = {-32, 32}; }), std::invalid_argument, "imgsz");
  CHECK_THROWS(with([](Options& o) { o.imgsz = {32, 1 << 20}; }), std::invalid_argument, "imgsz");
  CHECK_THROWS(with([](Options& o) { o.imgsz.reset(); }), ModelError, "imgsz=");
  CHECK_THROWS(with([](Options& o) { o.names.clear(); }), ModelError, "names=");
  CHECK_THROWS(with([](Options& o) { o.engine = "warp"; }), std::invalid_argument, "engines are: fake");
  CHECK_THROWS(with([](Options& o) { o.engine = "ncnn"; }), EngineError, "ncnn");
  FakeEngine::why_not = "no luck";
  CHECK_THROWS(with([](Options& o) { o.engine = "fake"; }), EngineError, "no luck");
  CHECK_THROWS(with([](Options&) {}), EngineError, "no luck");
  CHECK(engines().front().name == "fake" && !engines().front().available);
  FakeEngine::why_not.clear();
  FakeEngine::extra_classes = 3;
  CHECK_THROWS(with([](Options&) {}), ModelError, "(1, 9, 4)");
  FakeEngine::extra_classes = 0;

  FakeEngine::batch = 1 << 30;
  CHECK_THROWS(with([](Options&) {}), ModelError, "more than is supported");
  FakeEngine::batch = 0;

  Detector detector(model, options());
  CHECK_THROWS(detector.detect(Image{}), std::invalid_argument, "image");
  const auto pixels = gray(200);
  FakeEngine::extra_classes = 1;
  CHECK_THROWS(detector.detect(image(pixels)), EngineError, "changed");
  FakeEngine::extra_classes = 0;
  FakeEngine::rows_missing = 1;
  CHECK_THROWS(detector.detect({image(pixels), image(pixels)}, {}), EngineError, "2 images");
  FakeEngine::rows_missing = 0;
  CHECK(detector.detect(image(pixels)).size() == 1);
}

void test_forced_by_environment() {
  check::set_variable("YOLORT_ENGINE", "warp");
  CHECK_THROWS(Detector(model, options()), std::invalid_argument, "YOLORT_ENGINE");
  Options chosen = options();
  chosen.engine = "fake";  // the option wins
  CHECK(Detector(model, chosen).engine() == "fake");
  check::set_variable("YOLORT_ENGINE", "fake");
  CHECK(Detector(model, options()).engine() == "fake");
  check::unset_variable("YOLORT_ENGINE");
}

/// Ends at maps that fit no head, unless asked to run the whole graph.
class CutEngine final : public BufferEngine {
 public:
  explicit CutEngine(bool whole) : whole_(whole) {}
  InputShape input_shape() const override { return {}; }
  bool is_cut() const override { return !whole_; }
  const std::vector<Tensor>& run() override {
    rows_.assign(6 * 4, 0);
    outputs_ = {{rows_.data(), whole_ ? std::vector<int>{1, 6, 4} : std::vector<int>{1, 6, 2, 2}, 4, Type::f32}};
    return outputs_;
  }
  std::unique_ptr<Engine> clone() const override { return std::make_unique<CutEngine>(whole_); }

 private:
  bool whole_;
};

void test_a_cut_that_does_not_fit_is_undone() {
  const std::string file = model + ".cut.onnx";
  std::string onnx("\x3A\x01g", 3);
  for (const auto& [key, value] : std::map<std::string, std::string>{
           {"author", "Ultralytics"}, {"imgsz", "[32, 32]"}, {"names", "{0: 'a', 1: 'b'}"}, {"task", "detect"}}) {
    onnx += bytes(14, bytes(1, key) + bytes(2, value));
  }
  std::ofstream(file, std::ios::binary) << onnx;
  EngineEntry entry;
  entry.name = "cut";
  entry.unavailable = [] { return std::string(); };
  entry.accepts = [](const ModelSpec& spec) { return spec.format == Format::onnx; };
  std::vector<bool> cuts;
  entry.load = [&](const ModelSpec& spec, const Options&) {
    cuts.push_back(spec.may_be_cut());
    return std::make_unique<CutEngine>(spec.whole);
  };
  register_engine(entry);
  Options chosen;
  chosen.engine = "cut";
  CHECK(Detector(file, chosen).head() == "boxes");
  CHECK((cuts == std::vector<bool>{true, false}));
  unregister_engine("cut");
  std::filesystem::remove(file);
}

void test_the_next_engine_takes_what_the_first_cannot_load() {
  EngineEntry entry;
  entry.name = "first";
  entry.priority = 2000;
  entry.unavailable = [] { return std::string(); };
  entry.accepts = [](const ModelSpec& spec) { return spec.format == Format::onnx; };
  entry.load = [](const ModelSpec&, const Options&) -> std::unique_ptr<Engine> { throw ModelError("an odd operator"); };
  register_engine(entry);
  std::string told;
  set_warning_handler([&](const std::string& text) { told += text; });
  const Detector detector(model, options());
  CHECK(detector.engine() == "fake");
  CHECK(detector.explain().find("\nfirst: an odd operator") != std::string::npos);
  CHECK(told == model + " runs on fake, because another engine failed: an odd operator");
  Options named = options();
  named.engine = "first";
  CHECK_THROWS(Detector(model, named), ModelError, "an odd operator");
  FakeEngine::why_not = "not here";
  CHECK_THROWS(Detector(model, options()), ModelError, "an odd operator");
  FakeEngine::why_not.clear();
  set_warning_handler(nullptr);
  unregister_engine("first");
}

}  // namespace

int main() {
  for (const char* other : {"onnxruntime", "openvino"}) {
    register_engine(unavailable_engine(other, Format::onnx, "not in this test"));
  }
  test_one_image();
  test_batches();
  test_infer();
  test_padding_is_written_again_when_the_shape_changes();
  test_clones_run_side_by_side();
  test_refuses();
  test_forced_by_environment();
  test_a_cut_that_does_not_fit_is_undone();
  test_the_next_engine_takes_what_the_first_cannot_load();
  return check::result();
}
