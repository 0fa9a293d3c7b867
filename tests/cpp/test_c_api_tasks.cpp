// The C API: masks, keypoints and rotated boxes.
#include <cmath>
#include <cstring>
#include <string>

#include "check.h"
#include "fake_engine.h"
#include "yolort/c.h"

using namespace yolort;

namespace {

/// An engine with outputs set by the test, for models in memory.
class GivenEngine final : public BufferEngine {
 public:
  struct Output {
    std::vector<int> shape;  ///< of one image
    std::vector<float> values;
  };
  static inline std::vector<Output> given;

  InputShape input_shape() const override { return {1, 32, 32}; }
  const std::vector<Tensor>& run() override {
    outputs_.clear();
    for (Output& output : given) {
      std::vector<int> shape = output.shape;
      shape.insert(shape.begin(), 1);
      outputs_.push_back(
          {output.values.data(), shape, static_cast<std::ptrdiff_t>(output.values.size()) / shape[1], Type::f32});
    }
    return outputs_;
  }
  std::unique_ptr<Engine> clone() const override { return std::make_unique<GivenEngine>(); }
};

/// A model of a task with one class (poses: two keypoints) on GivenEngine.
yolort_status open(const std::string& task, std::vector<GivenEngine::Output> outputs, const yolort_options* options,
                   yolort_detector** detector) {
  EngineEntry entry;
  entry.name = "given";
  entry.priority = 1000;
  entry.unavailable = [] { return std::string(); };
  entry.accepts = [](const ModelSpec& spec) { return spec.format == Format::tensorrt; };
  entry.load = [](const ModelSpec&, const Options&) { return std::make_unique<GivenEngine>(); };
  entry.reads_memory = true;
  register_engine(entry);
  GivenEngine::given = std::move(outputs);
  const std::string header =
      R"({"names": {"0": "a"}, "imgsz": [32, 32], "kpt_shape": [2, 3], "task": ")" + task + "\"}";
  const std::string bytes = std::string{static_cast<char>(header.size()), 0, 0, 0} + header + "plan";
  const yolort_status status = yolort_open_memory(bytes.data(), bytes.size(), "tensorrt", options, detector);
  unregister_engine("given");
  return status;
}

/// The detections in an image of 32 x 32 pixels.
yolort_results* found_by(const std::string& task, std::vector<GivenEngine::Output> outputs) {
  yolort_detector* detector = nullptr;
  yolort_results* results = nullptr;
  const std::vector<std::uint8_t> pixels(32 * 32 * 3);
  yolort_image image{};
  image.pixels = pixels.data();
  image.width = image.height = 32;
  CHECK(open(task, std::move(outputs), nullptr, &detector) == YOLORT_OK);
  CHECK(yolort_task(detector) == task);
  CHECK(yolort_detect(detector, &image, 1, nullptr, &results) == YOLORT_OK);
  yolort_free(detector);
  return results;
}

void test_tasks() {
  std::size_t count = 0;
  yolort_results* results =
      found_by("segment", {{{6, 1}, {16, 16, 12, 8, 0.9f, 2}}, {{1, 8, 8}, std::vector<float>(64, 1)}});
  const yolort_mask* masks = yolort_results_masks(results, 0);
  CHECK(yolort_results_get(results, 0, &count) && count == 1 && masks);
  CHECK(masks->x == 10 && masks->y == 12 && masks->width == 12 && masks->height == 8 && masks->row_bytes == 2);
  CHECK(masks->bits[14] == 0xFF && masks->bits[15] == 0x0F && !yolort_results_masks(results, 1));
  CHECK(!yolort_results_rotated(results, 0) && !yolort_results_keypoints(results, 0, nullptr, nullptr));
  yolort_results_free(results);

  results = found_by("pose", {{{11, 1}, {16, 16, 12, 8, 0.9f, 1, 2, 0.5f, 3, 4, 0.25f}}});
  int32_t keypoints = 0, values = 0;
  const float* points = yolort_results_keypoints(results, 0, &keypoints, &values);
  CHECK(points && keypoints == 2 && values == 3 && points[0] == 1 && points[4] == 4 && points[5] == 0.25f);
  CHECK(!yolort_results_keypoints(results, 1, &keypoints, &values) && keypoints == 0 && values == 0);
  yolort_results_free(results);

  results = found_by("obb", {{{6, 1}, {16, 16, 12, 8, 0.9f, 0.5f}}});
  const yolort_rotated_box* box = yolort_results_rotated(results, 0);
  CHECK(box && box->cx == 16 && box->width == 12 && box->height == 8 && box->angle == 0.5f);
  float corners[8] = {};
  CHECK(yolort_corners(box, corners) == YOLORT_OK && std::abs(corners[0] + corners[4] - 32) < 1e-4);
  CHECK(yolort_corners(nullptr, corners) == YOLORT_INVALID_ARGUMENT && std::strstr(yolort_last_error(), "box is NULL"));
  yolort_results_free(results);
}

void test_keypoints_of_a_model_that_does_not_say() {
  const std::vector<GivenEngine::Output> outputs = {{{11, 1}, std::vector<float>(11)}};
  yolort_options options;
  CHECK(yolort_default_options(&options, sizeof options) == YOLORT_OK);
  yolort_detector* detector = nullptr;
  std::size_t count = 7;
  CHECK(open("pose", outputs, &options, &detector) == YOLORT_OK);
  CHECK(!yolort_skeleton(detector, &count) && count == 0);
  yolort_free(detector);

  const int32_t skeleton[] = {1, 0}, flip_idx[] = {1, 0};
  options.skeleton = skeleton;
  options.skeleton_count = 2;
  options.flip_idx = flip_idx;
  options.flip_idx_count = 2;
  options.augment = 1;
  CHECK(open("pose", outputs, &options, &detector) == YOLORT_OK);
  const int32_t* limbs = yolort_skeleton(detector, &count);
  CHECK(limbs && count == 1 && limbs[0] == 1 && limbs[1] == 0);
  yolort_free(detector);

  CHECK(open("obb", {{{6, 1}, std::vector<float>(6)}}, &options, &detector) == YOLORT_INVALID_ARGUMENT && !detector);
  CHECK(std::strstr(yolort_last_error(), "flip_idx is only for pose models"));
  options.skeleton_count = 1;
  CHECK(open("pose", outputs, &options, &detector) == YOLORT_INVALID_ARGUMENT);
  CHECK(std::strstr(yolort_last_error(), "options.skeleton has a limb with one keypoint"));
  CHECK(!yolort_skeleton(nullptr, &count) && count == 0);
}

}  // namespace

int main() {
  test_tasks();
  test_keypoints_of_a_model_that_does_not_say();
  return check::result();
}
