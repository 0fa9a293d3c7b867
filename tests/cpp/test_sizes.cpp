// Rectangles: the size at which each image runs, and the cached engines.
#include <array>
#include <map>
#include <utility>

#include "check.h"
#include "fake_engine.h"
#include "platform/warning.h"

using namespace yolort;

namespace {

/// Finds one object; its score is the pixel in the middle of the input.
class MiddleEngine final : public BufferEngine {
 public:
  static inline InputShape fixed{};
  static inline int living = 0, too_wide = 1 << 20, anchors = 4;
  static inline std::map<std::array<int, 3>, int> runs;  ///< by batch, height, width

  MiddleEngine() { ++living; }
  ~MiddleEngine() override { --living; }
  InputShape input_shape() const override { return fixed; }
  const std::vector<Tensor>& run() override {
    const int n = shape_[0], height = shape_[2], width = shape_[3];
    if (width >= too_wide) throw EngineError("the graph is narrow");
    ++runs[{n, height, width}];
    const int cells = height == width ? 4 : anchors;
    rows_.assign(static_cast<std::size_t>(n * 6 * cells), 0);
    for (int i = 0; i < n; ++i) {
      float* row = &rows_[static_cast<std::size_t>(i * 6 * cells)];
      row[0] = static_cast<float>(width) / 2, row[cells] = static_cast<float>(height) / 2;
      row[2 * cells] = row[3 * cells] = 8;
      row[5 * cells] = data_[static_cast<std::size_t>(i * 3 * height * width + height / 2 * width + width / 2)];
    }
    outputs_ = {{rows_.data(), {n, 6, cells}, cells, Type::f32}};
    return outputs_;
  }
  std::unique_ptr<Engine> clone() const override { return std::make_unique<MiddleEngine>(); }
};

const FakeModel fake_model("sizes");  // its engine is replaced by the one above

Options options(int side = 128) {
  Options out;
  out.names = {"zero", "one"};
  out.imgsz = {side, side};
  return out;
}

std::array<int, 3> only_run() {
  const auto [size, count] = *MiddleEngine::runs.begin();
  return MiddleEngine::runs.size() == 1 && count == 1 ? size : std::array{0, 0, 0};
}

const std::vector<std::uint8_t> pixels(512 * 512 * 3, 204);
Image image(int width, int height) { return {pixels.data(), width, height}; }

void test_the_size_is_that_of_the_image() {
  Detector detector(fake_model.path, options());
  CHECK(detector.rect() && (detector.imgsz() == std::array{128, 128}));
  for (const auto& [width, height, size] : {std::tuple{256, 128, std::array{1, 64, 128}},
                                            {128, 256, {1, 128, 64}},
                                            {300, 200, {1, 96, 128}},
                                            {128, 128, {1, 128, 128}},
                                            {512, 1, {1, 32, 128}}}) {
    detector.detect(image(width, height));
    MiddleEngine::runs.clear();
    const Detections found = detector.detect(image(width, height));
    CHECK(only_run() == size);
    CHECK(found.size() == 1 && std::abs(found.boxes[0].x1 + found.boxes[0].x2 - static_cast<float>(width)) < 1e-3f);
  }
  Options square = options();
  square.rect = false;
  Detector padded(fake_model.path, square);
  MiddleEngine::runs.clear();
  padded.detect(image(256, 128));
  CHECK(!padded.rect() && (only_run() == std::array{1, 128, 128}));
}

void test_images_of_one_size_run_together() {
  Detector detector(fake_model.path, options());
  std::vector<std::vector<std::uint8_t>> levels;
  std::vector<Image> images;
  for (int i = 0; i < 9; ++i) {
    levels.emplace_back(256 * 128 * 3, static_cast<std::uint8_t>(100 + 10 * i));
    images.push_back(i % 3 ? Image{levels.back().data(), 256, 128} : Image{levels.back().data(), 128, 256});
  }
  detector.detect(images, {});
  MiddleEngine::runs.clear();
  const std::vector<Detections> found = detector.detect(images, {});
  CHECK((MiddleEngine::runs == std::map<std::array<int, 3>, int>{{{3, 128, 64}, 1}, {{6, 64, 128}, 1}}));
  CHECK(detector.speed().inference > 0 && found.size() == 9);
  for (std::size_t i = 0; i < found.size(); ++i) {
    const Detections alone = detector.detect(images[i]);
    CHECK(found[i].scores == alone.scores && found[i].boxes[0].x1 == alone.boxes[0].x1);
    CHECK(std::abs(found[i].scores.at(0) - (100.0f + 10.0f * static_cast<float>(i)) / 255) < 1e-5f);
  }
}

void test_eight_sizes_are_kept() {
  Detector detector(fake_model.path, options(512));
  const int before = MiddleEngine::living;
  for (int height = 32; height < 512; height += 32) detector.detect(image(512, height));  // 15 other sizes
  CHECK(MiddleEngine::living == before + 8);
  MiddleEngine::runs.clear();
  detector.detect(image(512, 32));  // evicted, but its output shapes are known
  CHECK((only_run() == std::array{1, 32, 512}) && MiddleEngine::living == before + 8);
  Detector copy = detector.clone();
  CHECK(copy.rect() && MiddleEngine::living == before + 9);
  CHECK(copy.detect(image(512, 32)).size() == 1);
}

/// Another call may replace the engine that the first one uses.
void test_a_hook_may_detect() {
  Options with = options(512);
  Detector* called = nullptr;
  int calls = 0;
  with.between_runs = [&] {
    if (!called || calls++) return;
    for (int height = 32; height < 512; height += 32) called->detect(image(512, height));
  };
  Detector detector(fake_model.path, with);
  called = &detector;
  const std::vector<Detections> found = detector.detect(std::vector<Image>(40, image(512, 256)), {});
  CHECK(found.size() == 40 && calls > 0);
  for (const Detections& each : found) CHECK(each.size() == 1);
}

void test_a_size_that_does_not_run() {
  Detector detector(fake_model.path, options());
  MiddleEngine::too_wide = 100;
  for (int i = 0; i < 2; ++i) {
    CHECK_THROWS(
        detector.detect(image(256, 128)), EngineError,
        "cannot run at 64 x 128 for an image of that shape (rect=false pads to the square): the graph is narrow");
  }
  MiddleEngine::too_wide = 1 << 20;
  CHECK(detector.detect(image(256, 128)).size() == 1);
}

void test_outputs_are_checked_at_each_size() {
  Detector detector(fake_model.path, options());
  CHECK(detector.detect(image(256, 128)).size() == 1);
  MiddleEngine::anchors = 3;
  CHECK_THROWS(detector.detect(image(256, 128)), EngineError, "shapes changed");
  CHECK(detector.detect(image(128, 256)).size() == 1);  // a new size has its own
  MiddleEngine::anchors = 4;
}

void test_a_fixed_model() {
  MiddleEngine::fixed = {1, 128, 128, 16};
  Options asked = options();
  CHECK(!Detector(fake_model.path, asked).rect());
  asked.rect = true;
  CHECK_THROWS(Detector(fake_model.path, asked), std::invalid_argument, "is fixed to 128 x 128; leave rect out");
  MiddleEngine::fixed = {0, 0, 128, 16};
  CHECK_THROWS(Detector(fake_model.path, asked), std::invalid_argument, "is fixed to");
  MiddleEngine::fixed = {};
}

void test_sides_are_multiples_of_the_stride() {
  std::string said;
  set_warning_handler([&](const std::string& text) { said += text; });
  CHECK((Detector(fake_model.path, options(128)).imgsz() == std::array{128, 128}) && said.empty());
  Options odd = options();
  odd.imgsz = {100, 129};
  CHECK((Detector(fake_model.path, odd).imgsz() == std::array{128, 160}));
  CHECK(said.find("imgsz 100 x 129 is not a multiple of the model's stride, 32; it runs at 128 x 160") !=
        std::string::npos);
  set_warning_handler(nullptr);
}

}  // namespace

int main() {
  EngineEntry entry;
  entry.name = "fake";
  entry.priority = 1000;
  entry.unavailable = [] { return std::string(); };
  entry.accepts = [](const ModelSpec& spec) { return spec.format == Format::onnx; };
  entry.load = [](const ModelSpec&, const Options&) { return std::make_unique<MiddleEngine>(); };
  register_engine(entry);
  test_the_size_is_that_of_the_image();
  test_images_of_one_size_run_together();
  test_eight_sizes_are_kept();
  test_a_hook_may_detect();
  test_a_size_that_does_not_run();
  test_outputs_are_checked_at_each_size();
  test_a_fixed_model();
  test_sides_are_multiples_of_the_stride();
  return check::result();
}
