// Views and their merging, on their own and in a Detector on an engine that finds the bright rectangle in its input.
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>

#include "check.h"
#include "core/engine.h"
#include "core/view_merge.h"
#include "core/view_plan.h"
#include "fake_engine.h"

using namespace yolort;

namespace {

// ---- where views run ----

std::vector<std::string> places(const std::vector<int>& scales, const std::vector<Artifact>& artifacts,
                                bool flip = false) {
  std::vector<std::string> out;
  for (const PlacedView& view : plan_views(scales, flip, artifacts)) {
    CHECK(view.model == artifacts[view.artifact].path);
    CHECK(std::abs(view.fraction * std::max(view.imgsz[0], view.imgsz[1]) - view.scale) < 1e-9);
    out.push_back(std::to_string(view.scale) + (view.flip ? " flip " : " ") + view.model + " " +
                  std::to_string(view.imgsz[0]) + "x" + std::to_string(view.imgsz[1]));
  }
  return out;
}

void test_plan() {
  using Places = std::vector<std::string>;
  const Artifact fixed{"fixed", 640, 640, true}, large{"large", 800, 800, true}, dynamic{"dynamic", 384, 640, false};
  CHECK((places({}, {fixed}, true) == Places{"640 fixed 640x640", "640 flip fixed 640x640"}));
  CHECK((places({640}, {dynamic}) == Places{"640 dynamic 384x640"}));
  // A dynamic input keeps its proportions and is a multiple of the stride, a fixed one holds a smaller image.
  CHECK((places({531, 800, 1280}, {dynamic}) ==
         Places{"531 dynamic 320x544", "800 dynamic 480x800", "1280 dynamic 768x1280"}));
  CHECK((places({531}, {fixed}) == Places{"531 fixed 640x640"}));
  CHECK((places({32}, {{"deep", 1280, 1280, false, 64}}) == Places{"32 deep 64x64"}));
  // The artifact of that size, else the dynamic one, else the smallest that is larger.
  CHECK((places({800, 640, 700}, {fixed, large}) ==
         Places{"800 large 800x800", "640 fixed 640x640", "700 large 800x800"}));
  CHECK((places({500}, {fixed, dynamic}) == Places{"500 dynamic 320x512"}));
  CHECK((places({640, 500, 800}, {large, dynamic}) ==
         Places{"640 dynamic 384x640", "500 dynamic 320x512", "800 large 800x800"}));
  CHECK((places({}, {fixed, large}) == Places{"640 fixed 640x640", "800 large 800x800"}));

  CHECK_THROWS(plan_views({640, 1024}, true, {fixed, large}), std::invalid_argument,
               "1024 is larger than any input: model \"fixed\" is fixed to 640 x 640, model \"large\"");
  CHECK_THROWS(plan_views({640, 640}, true, {fixed}), std::invalid_argument, "640 is given twice");
  for (const int scale : {0, -640, 31, 16385}) {
    CHECK_THROWS(plan_views({scale}, true, {dynamic}), std::invalid_argument, std::to_string(scale) + " is out of");
  }
  CHECK_THROWS(plan_views(std::vector<int>(33, 640), true, {dynamic}), std::invalid_argument, "at most 32");
  CHECK_THROWS(plan_views({640}, true, {fixed, large}), std::invalid_argument, "no scale runs on \"large\"");
}

// ---- merging ----

struct Row {
  Box box;
  float score;
  int cls = 0;
};

Detections detections(const std::vector<Row>& rows) {
  Detections out;
  for (const Row& row : rows) {
    out.boxes.push_back(row.box);
    out.scores.push_back(row.score);
    out.classes.push_back(row.cls);
  }
  return out;
}

bool equal(const Detections& a, const Detections& b, float tolerance = 0) {
  bool same = a.size() == b.size() && a.classes == b.classes;
  const auto near = [&](float x, float y) { return std::abs(x - y) <= tolerance; };
  for (std::size_t i = 0; same && i < a.size(); ++i) {
    const Box &p = a.boxes[i], &q = b.boxes[i];
    same =
        near(a.scores[i], b.scores[i]) && near(p.x1, q.x1) && near(p.y1, q.y1) && near(p.x2, q.x2) && near(p.y2, q.y2);
  }
  return same;
}

HeadLayout layout_of(bool nms, Task task = Task::detect) {
  HeadLayout out;
  out.nms = nms;
  out.task = task;
  return out;
}
const HeadLayout with_nms = layout_of(true), nms_free = layout_of(false);

const Detections with_twins = detections({{{0, 0, 10, 10}, 0.9f},
                                          {{0, 0, 10, 11}, 0.8f},
                                          {{0, 0, 10, 10}, 0.7f, 1},
                                          {{50, 50, 90, 80}, 0.6f},
                                          {{51, 50, 90, 80}, 0.3f}});

void test_fusion() {
  Thresholds settings;
  const Detections one = detections({{{0, 0, 10, 10}, 0.8f}, {{40, 40, 60, 60}, 0.9f, 1}});
  const Detections other = detections({{{1, 0, 11, 12}, 0.4f}, {{1, 0, 11, 12}, 0.3f, 2}});
  // (0.8 * 0 + 0.4 * 1) / 1.2 = 1/3; a score is the sum over the number of views; classes do not mix.
  const Detections expected = detections({{{1 / 3.f, 0, 31 / 3.f, 32 / 3.f}, 0.6f}, {{40, 40, 60, 60}, 0.45f, 1}});
  CHECK(equal(merge_views({one, other}, Merge::wbf, settings, with_nms), expected, 1e-5f));
  settings.conf = 0.5f;
  CHECK(merge_views({one, other}, Merge::wbf, settings, with_nms).size() == 1);
  settings.conf = 0.1f;
  CHECK(merge_views({one, other}, Merge::wbf, settings, with_nms).size() == 3);
  settings.max_det = 1;
  CHECK(
      equal(merge_views({one, other}, Merge::wbf, settings, with_nms), detections({{expected.boxes[0], 0.6f}}), 1e-5f));
  // If two objects overlap, a box joins the one with the larger overlap.
  const Detections near = detections({{{0, 0, 10, 10}, 0.8f}, {{0, 0, 10, 13}, 0.7f}});
  const Detections tall = detections({{{0, 0, 10, 14}, 0.6f}});
  const Detections joined = merge_views({near, tall}, Merge::wbf, Thresholds(), nms_free);
  CHECK(joined.size() == 2 && joined.boxes[1].y2 == 10 && joined.scores[1] == 0.4f && joined.boxes[0].y2 > 13);
  CHECK(merge_views({{}, {}}, Merge::wbf, settings, with_nms).empty());
}

void test_equal_views_give_what_one_gives() {
  Thresholds settings;
  for (const Merge merge : {Merge::wbf, Merge::nms}) {
    CHECK(equal(merge_views({with_twins}, merge, settings, with_nms), with_twins));
  }
  CHECK(equal(merge_views({with_twins, with_twins, with_twins}, Merge::wbf, settings, nms_free), with_twins, 1e-6f));
  const std::vector<Detections> most(64, with_twins);  // a bit each
  CHECK(equal(merge_views(most, Merge::wbf, settings, nms_free), with_twins, 1e-6f));
}

void test_what_the_tasks_add_is_merged() {
  Detections one = detections({{{0, 0, 10, 10}, 0.8f}}), other = detections({{{1, 0, 11, 10}, 0.4f}});
  const auto pixels = [](int x, std::uint8_t row) {
    return Mask{x, 2, 8, 1, std::shared_ptr<const std::uint8_t>(new std::uint8_t(row))};
  };
  one.masks = {pixels(0, 0b00111100)};
  other.masks = {pixels(3, 0b10000001)};
  Detections merged = merge_views({one, other}, Merge::wbf, {}, layout_of(true, Task::segment));
  CHECK(merged.masks.size() == 1 && merged.masks[0].x == 0 && merged.masks[0].width == 11);
  CHECK(merged.masks[0].area() == 5);  // pixel 3 is in both
  for (const int x : {2, 3, 4, 5, 10}) CHECK(merged.masks[0].at(x, 2));
  merged = merge_views({one, other}, Merge::nms, {}, layout_of(true, Task::segment));
  CHECK(merged.masks.size() == 1 && merged.masks[0].bits == one.masks[0].bits);

  HeadLayout pose = layout_of(true, Task::pose);
  pose.kpt_shape = {2, 2};
  pose.extra = 4;
  one.keypoints = {1, 2, 3, 4};
  other.keypoints = {5, 6, 7, 8};
  merged = merge_views({other, one}, Merge::wbf, {}, pose);
  CHECK(merged.size() == 1 && merged.keypoints == one.keypoints && merged.kpt_shape == pose.kpt_shape);

  // Two crossed bars are two objects, although they have the same hull; a bar that is slightly rotated in another view
  // is one object.
  one = detections({{{0, 0, 20, 20}, 0.8f}, {{0, 0, 20, 20}, 0.7f}});
  one.rotated = {{10, 10, 26, 2, 0.8f}, {10, 10, 26, 2, -0.8f}};
  other = detections({{{0, 0, 20, 20}, 0.6f}});
  other.rotated = {{10, 10, 26, 2, -0.79f}};
  merged = merge_views({one, other}, Merge::wbf, {}, layout_of(true, Task::obb));
  CHECK(merged.size() == 2 && merged.rotated.size() == 2);
  CHECK(merged.rotated[0].angle == -0.8f && std::abs(merged.scores[0] - 0.65f) < 1e-6f && merged.scores[1] == 0.4f);
}

void test_thresholds_hold_for_the_whole() {
  Thresholds settings;
  const std::vector<Detections> views = {with_twins, with_twins};
  CHECK(merge_views(views, Merge::wbf, settings, with_nms).size() == 3);  // 0.7: the twins are one
  settings.iou = 0.98f;
  CHECK(merge_views(views, Merge::wbf, settings, with_nms).size() == 5);
  settings = {};
  settings.agnostic = true;
  CHECK(merge_views(views, Merge::wbf, settings, with_nms).size() == 2);
  // NMS keeps the best box of each object unchanged, also for an NMS-free head.
  settings = {};
  const Detections best = detections({{{0, 0, 10, 10}, 0.9f}, {{0, 0, 10, 10}, 0.7f, 1}, {{50, 50, 90, 80}, 0.6f}});
  for (const HeadLayout& layout : {with_nms, nms_free})
    CHECK(equal(merge_views(views, Merge::nms, settings, layout), best));

  settings.conf = 0.3f;
  settings.max_det = 5;
  CHECK(view_thresholds(settings, Merge::nms, 3).conf == 0.3f);
  CHECK(view_thresholds(settings, Merge::wbf, 3).conf == 0.1f && view_thresholds(settings, Merge::wbf, 1).conf == 0.3f);
  CHECK(view_thresholds(settings, Merge::wbf, 3).max_det == 300);
  settings.max_det = 1000;
  CHECK(view_thresholds(settings, Merge::nms, 3).max_det == 1000);
}

// ---- in a Detector ----

/// Finds the rectangle of bright pixels in its input as class 1, with a different score per view.
class FinderEngine final : public BufferEngine {
 public:
  static inline InputShape fixed{0, 0, 0, 16};
  static inline int runs = 0, largest = 1 << 20;
  static inline std::vector<std::array<int, 3>> shapes;  ///< batch, height, width of each run

  InputShape input_shape() const override { return shape_of_engine_; }
  const std::vector<Tensor>& run() override {
    const int n = shape_[0], height = shape_[2], width = shape_[3];
    if (height > largest) throw EngineError("the graph is for " + std::to_string(largest));
    ++runs;
    shapes.push_back({n, height, width});
    rows_.assign(static_cast<std::size_t>(n * 6), 0);
    for (int i = 0; i < n; ++i) {
      int left = width, top = height, right = -1, bottom = -1;
      for (int at = 0; at < height * width; ++at) {
        if (data_[static_cast<std::size_t>(i * 3 * height * width + at)] < 0.7f) continue;
        left = std::min(left, at % width), right = std::max(right, at % width + 1);
        top = std::min(top, at / width), bottom = std::max(bottom, at / width + 1);
      }
      if (right < 0) continue;
      float* row = &rows_[static_cast<std::size_t>(i * 6)];
      row[0] = static_cast<float>(left + right) / 2, row[1] = static_cast<float>(top + bottom) / 2;
      row[2] = static_cast<float>(right - left), row[3] = static_cast<float>(bottom - top);
      row[5] = static_cast<float>(width) / 256;  // 64: 0.25, 128: 0.5, 192: 0.75
    }
    outputs_ = {{rows_.data(), {n, 6, 1}, 1, Type::f32}};
    return outputs_;
  }
  std::unique_ptr<Engine> clone() const override { return std::make_unique<FinderEngine>(*this); }

 private:
  InputShape shape_of_engine_ = fixed;
};

const std::string model =
    (std::filesystem::temp_directory_path() / ("yolort_test_augment_" + std::to_string(getpid()) + ".onnx")).string();

Options options(std::vector<int> scales = {}) {
  Options out;
  out.names = {"zero", "one"};
  out.imgsz = {128, 128};
  out.augment = true;
  out.scales = std::move(scales);
  out.conf = 0.1f;
  return out;
}

/// 256 x 128, dark but for x 32 to 96, y 16 to 64.
const std::vector<std::uint8_t> pixels = [] {
  std::vector<std::uint8_t> out(3 * 256 * 128, 0);
  for (int y = 16; y < 64; ++y) {
    for (int at = 3 * 32; at < 3 * 96; ++at) out[static_cast<std::size_t>(y * 3 * 256 + at)] = 255;
  }
  return out;
}();
const Image image{pixels.data(), 256, 128};
const Detections in_place = detections({{{32, 16, 96, 64}, 0.5f, 1}});

void test_views_agree() {
  for (const int batch : {0, 1}) {
    FinderEngine::fixed = {batch, 0, 0, 16};
    Detector detector(model, options());
    CHECK(detector.views().size() == 2 && detector.views()[1].flip && !detector.views()[0].flip);
    detector.detect(image);  // the first at a size runs that twice
    FinderEngine::runs = 0;
    CHECK(equal(detector.detect(image), in_place));
    CHECK(FinderEngine::runs == (batch ? 2 : 1));  // the views of a network input are a batch
    CHECK(equal(detector.detect({image}, options(), false).at(0), in_place));
    CHECK(detector.speed().post > 0);

    Detector scaled(model, options({64, 192, 128}));
    CHECK(scaled.views().size() == 6);
    CHECK((scaled.views()[2].imgsz == std::array{192, 192}));
    scaled.detect(image);
    FinderEngine::shapes.clear();
    const Detections found = scaled.detect(image);  // a mean of 0.25, 0.75 and 0.5
    CHECK(equal(found, in_place, 2) && std::abs(found.scores.at(0) - 0.5f) < 1e-6f);
    for (const std::array<int, 3>& shape : FinderEngine::shapes) CHECK(shape[0] == (batch ? 1 : 2));
    CHECK(FinderEngine::shapes.size() == (batch ? 6 : 3));
    const auto many = scaled.detect(std::vector<Image>(5, image), options());
    CHECK(many.size() == 5);
    for (const Detections& one : many) CHECK(equal(one, found));
    Detector copy = scaled.clone();
    CHECK(copy.views().size() == 6 && equal(copy.detect(image), found));
    CHECK(scaled.detect(std::vector<Image>{}, {}).empty());
  }
}

void test_a_view_alone_is_a_plain_look() {
  for (const bool fixed : {false, true}) {
    FinderEngine::fixed = fixed ? InputShape{1, 128, 128, 16} : InputShape{};
    Options alone = options({128}), plain = options();
    alone.flip = false;
    plain.augment = false;
    CHECK(equal(Detector(model, alone).detect(image), Detector(model, plain).detect(image)));
    alone.scales = {64};  // in a fixed input the score is that of the input's size
    CHECK(equal(Detector(model, alone).detect(image), detections({{{32, 16, 96, 64}, fixed ? 0.5f : 0.25f, 1}})));
    alone.scales = {45};
    CHECK(equal(Detector(model, alone).detect(image), detections({{{32, 16, 96, 64}, fixed ? 0.5f : 0.25f, 1}}), 6));
  }
}

void test_thresholds_of_a_call() {
  FinderEngine::fixed = {};
  Detector detector(model, options({64, 192}));
  Thresholds settings = options();
  settings.conf = 0.45f;  // one view has 0.25, the mean is 0.5
  CHECK(detector.detect(image, settings).size() == 1);
  settings.conf = 0.55f;
  CHECK(detector.detect(image, settings).empty());
  settings.conf = 0.1f;
  settings.classes = {0};
  CHECK(detector.detect(image, settings).empty());
  Options best = options({64, 192});
  best.merge = Merge::nms;
  CHECK(Detector(model, best).detect(image).scores.at(0) == 0.75f);
}

void test_refuses() {
  FinderEngine::fixed = {1, 128, 128, 16};
  CHECK_THROWS(Detector(model, options({128, 256})), std::invalid_argument, "scale_models");
  CHECK_THROWS(Detector(model, options({7})), std::invalid_argument, "out of range");
  Options wrong = options();
  wrong.scale_models = {model + ".none"};
  CHECK_THROWS(Detector(model, wrong), FileNotFound, "none");
  FinderEngine::fixed = {};
  FinderEngine::largest = 128;
  CHECK_THROWS(Detector(model, options({128, 192})), EngineError,
               "cannot run at 192 x 192 for the scale 192: the graph");
  FinderEngine::largest = 1 << 20;
  Options plain = options();
  plain.augment = false;
  Detector detector(model, plain);
  CHECK(detector.views().empty());
  CHECK_THROWS(detector.detect({image}, {}, true), std::invalid_argument, "construct it with augment");
}

}  // namespace

int main() {
  EngineEntry entry;
  entry.name = "finder";
  entry.priority = 1000;
  entry.unavailable = [] { return std::string(); };
  entry.accepts = [](const ModelSpec& spec) { return spec.format == Format::onnx; };
  entry.load = [](const ModelSpec&, const Options&) { return std::make_unique<FinderEngine>(); };
  register_engine(entry);
  std::ofstream(model, std::ios::binary) << std::string("\x3A\x01g", 3);  // a ModelProto with a graph and no more
  test_plan();
  test_fusion();
  test_equal_views_give_what_one_gives();
  test_what_the_tasks_add_is_merged();
  test_thresholds_hold_for_the_whole();
  test_views_agree();
  test_a_view_alone_is_a_plain_look();
  test_thresholds_of_a_call();
  test_refuses();
  std::filesystem::remove(model);
  return check::result();
}
