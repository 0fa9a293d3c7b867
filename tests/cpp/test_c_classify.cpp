// Classifiers in C and C++, on an engine without a network.
#include <cmath>
#include <string>

#include "check.h"
#include "fake_engine.h"
#include "yolort/c.h"

using namespace yolort;

namespace {

/// Three scores: the first pixel's red, green and blue.
class ColorEngine final : public BufferEngine {
 public:
  static inline int runs = 0, extra_classes = 0;

  InputShape input_shape() const override { return {0, 8, 8, 2}; }
  const std::vector<Tensor>& run() override {
    ++runs;
    const int classes = 3 + extra_classes;
    rows_.assign(static_cast<std::size_t>(shape_[0] * classes), 0);
    for (int i = 0; i < shape_[0]; ++i) {
      for (int c = 0; c < 3; ++c) {
        rows_[static_cast<std::size_t>(i * classes + c)] = data_[static_cast<std::size_t>((i * 3 + c) * 64)];
      }
    }
    outputs_ = {{rows_.data(), {shape_[0], classes}, 1, Type::f32}};
    return outputs_;
  }
  std::unique_ptr<Engine> clone() const override { return std::make_unique<ColorEngine>(); }
};

std::string model_of(const std::string& task) {
  EngineEntry entry;
  entry.name = "color";
  entry.priority = 1000;
  entry.unavailable = [] { return std::string(); };
  entry.accepts = [](const ModelSpec& spec) { return spec.format == Format::tensorrt; };
  entry.load = [](const ModelSpec&, const Options&) { return std::make_unique<ColorEngine>(); };
  entry.reads_memory = true;
  register_engine(entry);
  const std::string header = R"({"names": {"0": "red", "1": "green", "2": "blue"}, "imgsz": 8)" + task + "}";
  return std::string{static_cast<char>(header.size()), 0, 0, 0} + header + "plan";
}

yolort_image image_of(const std::uint8_t* pixels) {
  yolort_image out{};
  out.pixels = pixels;
  out.width = 1;
  out.height = 1;
  return out;
}

const std::uint8_t blue[] = {255, 51, 0}, green[] = {0, 255, 102}, red[] = {51, 0, 255};

void test_in_c() {
  const std::string bytes = model_of(R"(, "task": "classify")");
  yolort_classifier *classifier = nullptr, *clone = nullptr;
  CHECK(yolort_open_classifier_memory(bytes.data(), bytes.size(), "tensorrt", nullptr, &classifier) == YOLORT_OK);
  CHECK(yolort_class_count(classifier) == 3 && std::string(yolort_class_name(classifier, 1)) == "green");
  CHECK(!yolort_class_name(classifier, 3) && !yolort_class_name(classifier, -1) && !yolort_class_count(nullptr));
  CHECK(std::string(yolort_classifier_engine(classifier)) == "color");
  CHECK(yolort_clone_classifier(classifier, &clone) == YOLORT_OK);
  const yolort_image images[] = {image_of(blue), image_of(green), image_of(red)};
  for (yolort_classifier* each : {classifier, clone}) {
    float probs[9] = {};
    ColorEngine::runs = 0;
    CHECK(yolort_classify(each, images, 3, probs) == YOLORT_OK);
    CHECK(ColorEngine::runs == 2);  // at most two run together
    std::int32_t best[2] = {};
    CHECK(yolort_top(probs, 3, best, 2) == YOLORT_OK && best[0] == 2 && best[1] == 1);
    CHECK(yolort_top(probs + 3, 3, best, 1) == YOLORT_OK && best[0] == 1);
    CHECK(probs[6] == 1 && probs[7] == 0 && std::fabs(probs[8] - 0.2f) < 1e-6f);
  }
  CHECK(yolort_classify(classifier, nullptr, 0, nullptr) == YOLORT_OK);
  CHECK(yolort_classify(classifier, images, 1, nullptr) == YOLORT_INVALID_ARGUMENT);
  CHECK(std::string(yolort_last_error()) == "probs is NULL");
  float probs[3] = {};
  std::int32_t best[4] = {};
  CHECK(yolort_top(probs, 3, best, 4) == YOLORT_INVALID_ARGUMENT);
  yolort_free_classifier(clone);
  yolort_free_classifier(classifier);
  yolort_free_classifier(nullptr);
}

void test_in_cpp() {
  const std::string bytes = model_of(R"(, "task": "classify")"), untold = model_of("");
  for (const std::string* model : {&bytes, &untold}) {
    Classifier classifier(ModelBytes{model->data(), model->size(), "tensorrt"});
    const Classification found = classifier.classify({green, 1, 1});
    CHECK(found.top(1) == std::vector<int>{1} && found.top() == (std::vector<int>{1, 0, 2}));
    CHECK(classifier.names().size() == 3 && classifier.imgsz()[0] == 8 && classifier.channels() == 3);
    Options rotated;
    rotated.augment = true;
    CHECK_THROWS(Classifier(ModelBytes{model->data(), model->size(), "tensorrt"}, rotated), std::invalid_argument,
                 "only to detection");
    Image on_gpu{green, 1, 1};
    on_gpu.memory = Memory::cuda;
    CHECK_THROWS(classifier.classify(on_gpu), std::invalid_argument, "CUDA memory");
    CHECK_THROWS(classifier.classify({green, 0, 1}), std::invalid_argument, "0 x 1");
  }
  CHECK_THROWS(Detector(ModelBytes{bytes.data(), bytes.size(), "tensorrt"}), ModelError, "open it with Classifier");
  const std::string detect = model_of(R"(, "task": "detect")");
  CHECK_THROWS(Classifier(ModelBytes{detect.data(), detect.size(), "tensorrt"}), ModelError, "open it with Detector");
  ColorEngine::extra_classes = 1;
  CHECK_THROWS(Classifier(ModelBytes{bytes.data(), bytes.size(), "tensorrt"}), ModelError, "(batch, 3)");
}

}  // namespace

int main() {
  test_in_c();
  test_in_cpp();
  return check::result();
}
