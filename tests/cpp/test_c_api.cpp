// The C API returns the same results as the C++ API, and a status for any arguments.
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>

#include "check.h"
#include "fake_engine.h"
#include "yolort/c.h"

using namespace yolort;

namespace {

const FakeModel model("c");

/// The call must fail with `status`, and the message must contain `text`.
#define CHECK_FAILS(call, status, text)                                                                         \
  do {                                                                                                          \
    CHECK((call) == (status));                                                                                  \
    if (!std::strstr(yolort_last_error(), text))                                                                \
      check::fail(__FILE__, __LINE__, std::string("message without '") + (text) + "': " + yolort_last_error()); \
  } while (false)

yolort_options options() {
  static const char* const names[] = {"zero", "one"};
  yolort_options out;
  CHECK(yolort_default_options(&out, sizeof out) == YOLORT_OK);
  out.height = out.width = 32;
  out.names = names;
  out.name_count = 2;
  return out;
}

yolort_thresholds conf(float value) {
  yolort_thresholds out;
  CHECK(yolort_default_thresholds(&out, sizeof out) == YOLORT_OK);
  out.conf = value;
  return out;
}

struct Opened {
  yolort_detector* detector = nullptr;

  explicit Opened(const yolort_options& with = options()) {
    CHECK(yolort_open(model.path.c_str(), &with, &detector) == YOLORT_OK);
  }
  ~Opened() { yolort_free(detector); }
  Opened(const Opened&) = delete;
  Opened& operator=(const Opened&) = delete;
};

/// 32 x 32 pixels; the fake engine's score is the first one's.
struct Pixels {
  std::vector<std::uint8_t> bytes;
  yolort_image image{};

  explicit Pixels(int level) : bytes(32 * 32 * 3, static_cast<std::uint8_t>(level)) {
    image.pixels = bytes.data();
    image.width = image.height = 32;
  }
};

void test_versions() {
  CHECK(yolort_abi_version() == YOLORT_ABI_VERSION);
  CHECK(std::strchr(yolort_version(), '.'));
}

void test_defaults() {
  yolort_thresholds thresholds;
  CHECK(yolort_default_thresholds(&thresholds, sizeof thresholds) == YOLORT_OK);
  const Thresholds expected;
  CHECK(thresholds.struct_size == sizeof thresholds && thresholds.conf == expected.conf);
  CHECK(thresholds.iou == expected.iou && thresholds.max_det == expected.max_det && !thresholds.classes);
  yolort_options options;
  CHECK(yolort_default_options(&options, sizeof options) == YOLORT_OK);
  CHECK(options.tuned && options.flip && !options.augment && !options.engine && options.threads == 0);
  struct {
    yolort_thresholds known;
    std::int64_t fresh;  // a field of a newer program
  } newer;
  newer.fresh = 5;
  CHECK(yolort_default_thresholds(&newer.known, sizeof newer) == YOLORT_OK);
  CHECK(newer.known.struct_size == sizeof newer && newer.fresh == 0);
  thresholds.max_det = 7;  // beyond the struct of an older program
  CHECK(yolort_default_thresholds(&thresholds, offsetof(yolort_thresholds, max_det)) == YOLORT_OK);
  CHECK(thresholds.max_det == 7 && thresholds.struct_size == offsetof(yolort_thresholds, max_det));
  CHECK_FAILS(yolort_default_options(nullptr, sizeof options), YOLORT_INVALID_ARGUMENT, "options is NULL");
  CHECK_FAILS(yolort_default_options(&options, 0), YOLORT_INVALID_ARGUMENT, "pass sizeof");
}

void test_engines() {
  const char* reason = nullptr;
  CHECK(std::string(yolort_engine_at(0, &reason)) == "fake" && std::string(reason).empty());
  FakeEngine::why_not = "no luck";
  CHECK(std::string(yolort_engine_at(0, &reason)) == "fake" && std::string(reason) == "no luck");
  FakeEngine::why_not.clear();
  CHECK(yolort_engine_at(engines().size() - 1, nullptr) != nullptr);
  CHECK(yolort_engine_at(engines().size(), &reason) == nullptr && reason == nullptr);
}

void test_devices() {
  CHECK(std::string(yolort_device_at("fake", 0)) == "cpu" && !yolort_device_at("fake", 1));
  CHECK(!yolort_device_at("nothing", 0) && std::strstr(yolort_last_error(), "not known"));
  CHECK(!yolort_device_at(nullptr, 0) && std::strstr(yolort_last_error(), "NULL"));
  FakeEngine::why_not = "no luck";
  CHECK(!yolort_device_at("fake", 0) && std::strstr(yolort_last_error(), "no luck"));
  FakeEngine::why_not.clear();
}

void test_what_was_opened() {
  const Opened opened;
  CHECK(yolort_name_count(opened.detector) == 2);
  CHECK(std::string(yolort_name(opened.detector, 1)) == "one");
  CHECK(yolort_name(opened.detector, 2) == nullptr && yolort_name(opened.detector, -1) == nullptr);
  CHECK(std::string(yolort_engine(opened.detector)) == "fake");
  CHECK(std::string(yolort_device(opened.detector)) == "fake device");
  CHECK(std::string(yolort_precision(opened.detector)) == "fp32");
  CHECK(std::string(yolort_head(opened.detector)) == "boxes");
  CHECK(std::string(yolort_task(opened.detector)) == "detect");
  CHECK(yolort_metadata(opened.detector, "nothing") == nullptr);
  int32_t height = 0, width = 0;
  CHECK(yolort_imgsz(opened.detector, &height, &width) == YOLORT_OK && height == 32 && width == 32);
}

void test_detects() {
  const Opened opened;
  const Pixels bright(204), dark(102);
  const yolort_image images[] = {bright.image, dark.image, bright.image};
  yolort_results* results = nullptr;
  CHECK(yolort_detect(opened.detector, images, 3, nullptr, &results) == YOLORT_OK);
  for (std::size_t i = 0; i < 3; ++i) {
    std::size_t count = 0;
    const yolort_detection* found = yolort_results_get(results, i, &count);
    CHECK(count == 1 && found && found->class_id == 1 && found->x1 == 12 && found->y2 == 20);
    CHECK(found && std::abs(found->score - (i == 1 ? 0.4f : 0.8f)) < 1e-5);
    CHECK(!yolort_results_masks(results, i) && !yolort_results_rotated(results, i));
    CHECK(!yolort_results_keypoints(results, i, nullptr, nullptr));
  }
  std::size_t count = 7;
  CHECK(yolort_results_get(results, 3, &count) == nullptr && count == 0);
  double pre = 0, inference = 0, post = 0;
  CHECK(yolort_speed(opened.detector, &pre, &inference, &post) == YOLORT_OK && pre > 0 && inference > 0 && post > 0);
  yolort_results_free(results);
  CHECK(yolort_detect(opened.detector, nullptr, 0, nullptr, &results) == YOLORT_OK);
  CHECK(yolort_results_get(results, 0, nullptr) == nullptr);
  yolort_results_free(results);
}

std::size_t found_in(yolort_detector* detector, const yolort_image& image, const yolort_thresholds* thresholds) {
  yolort_results* results = nullptr;
  CHECK(yolort_detect(detector, &image, 1, thresholds, &results) == YOLORT_OK);
  std::size_t count = 0;
  yolort_results_get(results, 0, &count);
  yolort_results_free(results);
  return count;
}

void test_thresholds() {
  yolort_options with = options();
  const yolort_thresholds strict = conf(0.9f), loose = conf(0.1f);
  with.thresholds = &strict;
  const Opened opened(with);
  const Pixels image(204);
  CHECK(found_in(opened.detector, image.image, nullptr) == 0);
  CHECK(found_in(opened.detector, image.image, &loose) == 1);
  const int32_t zero[] = {0};
  yolort_thresholds other = loose;
  other.classes = zero;
  other.class_count = 1;
  CHECK(found_in(opened.detector, image.image, &other) == 0);
}

/// The fake engine's box is in the middle of 32 pixels, so in 64 pixels, mirrored views find two objects.
void test_augmentation() {
  const std::int32_t scale = 64;
  const Pixels image(204);
  const auto found = [&](const yolort_options& with, float above) {
    const yolort_thresholds thresholds = conf(above);
    return found_in(Opened(with).detector, image.image, &thresholds);
  };
  yolort_options with = options();
  with.scales = &scale;
  with.scale_count = 1;
  CHECK(found(with, 0.25f) == 2);
  CHECK(found(with, 0.5f) == 0);  // weighted boxes fusion: one of two views found it
  with.merge = YOLORT_NMS;
  CHECK(found(with, 0.5f) == 2);
  with.merge = YOLORT_WBF;
  with.flip = 0;
  CHECK(found(with, 0.5f) == 1);
  const char* const models[] = {model.path.c_str()};
  with.scale_models = models;
  with.scale_model_count = 1;
  yolort_detector* detector = nullptr;
  CHECK_FAILS(yolort_open(model.path.c_str(), &with, &detector), YOLORT_MODEL_ERROR, "does not say its input size");
}

/// A program compiled with a shorter struct, or with a longer one whose new fields are zero.
void test_structs_of_other_versions() {
  const Opened opened;
  const Pixels image(204);
  yolort_thresholds older = conf(0.9f);
  older.struct_size = offsetof(yolort_thresholds, max_det);
  older.max_det = -1;  // is not there
  CHECK(found_in(opened.detector, image.image, &older) == 0);
  struct {
    yolort_thresholds known;
    std::int64_t fresh;
  } newer{conf(0.9f), 0};
  newer.known.struct_size = sizeof newer;
  CHECK(found_in(opened.detector, image.image, &newer.known) == 0);
  newer.fresh = 1;
  yolort_results* results = nullptr;
  CHECK_FAILS(yolort_detect(opened.detector, &image.image, 1, &newer.known, &results), YOLORT_INVALID_ARGUMENT,
              "newer library");
  for (const std::size_t wrong : {std::size_t{0}, offsetof(yolort_thresholds, classes) + 4}) {  // half a pointer
    newer.known.struct_size = wrong;
    CHECK_FAILS(yolort_detect(opened.detector, &image.image, 1, &newer.known, &results), YOLORT_INVALID_ARGUMENT,
                "start from yolort_default_thresholds()");
  }
}

void test_clones_and_results_outlive_their_detector() {
  yolort_detector *clone = nullptr, *again = nullptr;
  yolort_results* results = nullptr;
  const Pixels image(204);
  {
    const Opened opened;
    CHECK(yolort_clone(opened.detector, &clone) == YOLORT_OK);
    CHECK(yolort_clone(clone, &again) == YOLORT_OK);
    CHECK(yolort_detect(opened.detector, &image.image, 1, nullptr, &results) == YOLORT_OK);
  }
  std::thread other([&] { CHECK(found_in(clone, image.image, nullptr) == 1); });
  CHECK(found_in(again, image.image, nullptr) == 1);
  other.join();
  std::size_t count = 0;
  CHECK(yolort_results_get(results, 0, &count) && count == 1);
  yolort_results_free(results);
  yolort_free(clone);
  yolort_free(again);
}

void test_a_model_in_memory() {
  const std::string bytes("\x3A\x01g", 3);  // as in FakeModel
  const yolort_options with = options();
  yolort_detector* detector = nullptr;
  CHECK(yolort_open_memory(bytes.data(), bytes.size(), "onnx", &with, &detector) == YOLORT_OK);
  CHECK(std::string(yolort_engine(detector)) == "fake");
  const Pixels pixels(204);
  yolort_results* results = nullptr;
  CHECK(yolort_detect(detector, &pixels.image, 1, nullptr, &results) == YOLORT_OK);
  std::size_t count = 0;
  CHECK(yolort_results_get(results, 0, &count) && count == 1);
  yolort_results_free(results);
  yolort_free(detector);
  CHECK_FAILS(yolort_open_memory(bytes.data(), 0, "onnx", &with, &detector), YOLORT_MODEL_ERROR, "it is empty");
  CHECK_FAILS(yolort_open_memory(bytes.data(), 2, "onnx", &with, &detector), YOLORT_MODEL_ERROR, "in memory");
  CHECK_FAILS(yolort_open_memory(bytes.data(), 3, "ncnn", &with, &detector), YOLORT_INVALID_ARGUMENT, "format is");
  CHECK_FAILS(yolort_open_memory(bytes.data(), 3, nullptr, &with, &detector), YOLORT_INVALID_ARGUMENT, "format");
  CHECK_FAILS(yolort_open_memory(nullptr, 3, "onnx", &with, &detector), YOLORT_INVALID_ARGUMENT, "model is NULL");
}

void test_options_of_the_engine() {
  const char* const settings[] = {"session.x", "1", "device_id"};
  yolort_options with = options();
  with.engine = "fake";
  with.engine_options = settings;
  with.engine_option_count = 2;
  yolort_detector* detector = nullptr;
  CHECK_FAILS(yolort_open(model.path.c_str(), &with, &detector), YOLORT_INVALID_ARGUMENT, "\"fake\" has no options");
  with.engine_option_count = 3;
  CHECK_FAILS(yolort_open(model.path.c_str(), &with, &detector), YOLORT_INVALID_ARGUMENT, "a name without a value");
}

void test_failures() {
  int something = 0;
  auto* detector = reinterpret_cast<yolort_detector*>(&something);
  const yolort_options good = options();
  CHECK_FAILS(yolort_open("nothing.onnx", &good, &detector), YOLORT_FILE_NOT_FOUND, "nothing.onnx");
  CHECK(detector == nullptr);
  yolort_options bad = good;
  bad.name_count = 0;
  CHECK_FAILS(yolort_open(model.path.c_str(), &bad, &detector), YOLORT_MODEL_ERROR, "names=");
  bad = good;
  bad.rect = 3;
  CHECK_FAILS(yolort_open(model.path.c_str(), &bad, &detector), YOLORT_INVALID_ARGUMENT, "options.rect is 3");
  bad = good;
  bad.engine = "ncnn";
  CHECK_FAILS(yolort_open(model.path.c_str(), &bad, &detector), YOLORT_ENGINE_ERROR, "ncnn");
  bad = good;
  bad.threads = -1;
  CHECK_FAILS(yolort_open(model.path.c_str(), &bad, &detector), YOLORT_INVALID_ARGUMENT, "threads");
  bad = good;
  bad.scale_count = 1;
  CHECK_FAILS(yolort_open(model.path.c_str(), &bad, &detector), YOLORT_INVALID_ARGUMENT, "options.scales is NULL");
  const char* const gap[] = {"zero", nullptr};
  bad = good;
  bad.names = gap;
  CHECK_FAILS(yolort_open(model.path.c_str(), &bad, &detector), YOLORT_INVALID_ARGUMENT, "name");
  bad = good;
  bad.scale_models = gap;
  bad.scale_model_count = 2;
  CHECK_FAILS(yolort_open(model.path.c_str(), &bad, &detector), YOLORT_INVALID_ARGUMENT, "scale_models");
  bad = good;
  bad.merge = 2;
  CHECK_FAILS(yolort_open(model.path.c_str(), &bad, &detector), YOLORT_INVALID_ARGUMENT, "merge");
  const yolort_thresholds nan = conf(std::strtof("nan", nullptr));
  bad = good;
  bad.thresholds = &nan;
  CHECK_FAILS(yolort_open(model.path.c_str(), &bad, &detector), YOLORT_INVALID_ARGUMENT, "conf");
  CHECK_FAILS(yolort_open(nullptr, &good, &detector), YOLORT_INVALID_ARGUMENT, "model is NULL");
  CHECK_FAILS(yolort_open("a", &good, nullptr), YOLORT_INVALID_ARGUMENT, "detector is NULL");

  const Opened opened;
  const Pixels pixels(204);
  auto* results = reinterpret_cast<yolort_results*>(&something);
  for (const auto& [change, text] :
       {std::pair<void (*)(yolort_image&), const char*>{[](yolort_image& image) { image.format = 6; }, "format is 6"},
        {[](yolort_image& image) { image.memory = -1; }, "memory is -1"},
        {[](yolort_image& image) { image.memory = YOLORT_CUDA; }, "CUDA memory"},
        {[](yolort_image& image) { image.width = 0; }, "image"},
        {[](yolort_image& image) { image.pixels = nullptr; }, "image"}}) {
    yolort_image image = pixels.image;
    change(image);
    CHECK_FAILS(yolort_detect(opened.detector, &image, 1, nullptr, &results), YOLORT_INVALID_ARGUMENT, text);
    CHECK(results == nullptr);
  }
  CHECK_FAILS(yolort_detect(opened.detector, nullptr, 1, nullptr, &results), YOLORT_INVALID_ARGUMENT, "images is NULL");
  CHECK_FAILS(yolort_detect(nullptr, &pixels.image, 1, nullptr, &results), YOLORT_INVALID_ARGUMENT, "detector");
  CHECK_FAILS(yolort_detect(opened.detector, &pixels.image, 1, nullptr, nullptr), YOLORT_INVALID_ARGUMENT, "results");
  FakeEngine::rows_missing = 1;
  CHECK_FAILS(yolort_detect(opened.detector, &pixels.image, 1, nullptr, &results), YOLORT_ENGINE_ERROR, "images");
  FakeEngine::rows_missing = 0;
  std::thread([] { CHECK(std::string(yolort_last_error()).empty()); }).join();  // each thread has its own
}

void test_null() {
  yolort_free(nullptr);
  yolort_results_free(nullptr);
  std::size_t count = 7;
  CHECK(yolort_results_get(nullptr, 0, &count) == nullptr && count == 0);
  CHECK(yolort_name_count(nullptr) == 0 && yolort_name(nullptr, 0) == nullptr);
  for (const auto* text : {yolort_engine(nullptr), yolort_device(nullptr), yolort_precision(nullptr),
                           yolort_head(nullptr), yolort_task(nullptr), yolort_metadata(nullptr, "task")}) {
    CHECK(text == nullptr);
  }
  const Opened opened;
  CHECK(yolort_metadata(opened.detector, nullptr) == nullptr);
  yolort_detector* clone = opened.detector;
  CHECK_FAILS(yolort_clone(nullptr, &clone), YOLORT_INVALID_ARGUMENT, "detector is NULL");
  CHECK(clone == nullptr);
  CHECK_FAILS(yolort_clone(opened.detector, nullptr), YOLORT_INVALID_ARGUMENT, "clone is NULL");
  CHECK_FAILS(yolort_imgsz(opened.detector, nullptr, nullptr), YOLORT_INVALID_ARGUMENT, "height is NULL");
  CHECK_FAILS(yolort_speed(nullptr, nullptr, nullptr, nullptr), YOLORT_INVALID_ARGUMENT, "detector is NULL");
}

}  // namespace

int main() {
  test_versions();
  test_defaults();
  test_engines();
  test_devices();
  test_what_was_opened();
  test_detects();
  test_thresholds();
  test_augmentation();
  test_structs_of_other_versions();
  test_clones_and_results_outlive_their_detector();
  test_a_model_in_memory();
  test_options_of_the_engine();
  test_failures();
  test_null();
  return check::result();
}
