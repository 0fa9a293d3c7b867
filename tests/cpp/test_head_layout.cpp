#include "ops/head_layout.h"

#include <vector>

#include "check.h"
#include "ops/half.h"

using namespace yolort;

namespace {

std::vector<Tensor> shapes(const std::vector<std::vector<int>>& all) {
  std::vector<Tensor> out;
  for (const auto& shape : all) out.push_back({nullptr, shape, 1, Type::f32});
  return out;
}

HeadLayout layout_of(Head head, Task task, int extra = 0) {
  HeadLayout out;
  out.head = head;
  out.task = task;
  out.extra = extra;
  return out;
}

void test_layouts() {
  CHECK(resolve_layout({}, 80, shapes({{1, 84, 8400}}), 640, 640).head == Head::boxes);
  const HeadLayout rows = resolve_layout({}, 80, shapes({{1, 300, 6}}), 640, 640);
  CHECK(rows.head == Head::end2end && !rows.nms);
  CHECK_THROWS(resolve_layout({}, 80, shapes({{1, 84, 80, 80}, {1, 1}}), 640, 640), ModelError,
               "do not match a known head");
  CHECK_THROWS(resolve_layout({}, 80, shapes({{1, 85, 8400}}), 640, 640), ModelError, "4 + 80 classes");
  HeadLayout raw;
  raw.head = Head::raw;
  CHECK_THROWS(resolve_layout(raw, 80, {}, 640, 640), ModelError, "no outputs");
  raw.reg_max = 16;
  raw.strides = {8};
  CHECK(resolve_layout(raw, 80, shapes({{1, 64, 48, 80}, {1, 80, 48, 80}}), 384, 640).classes == 80);
  CHECK_THROWS(resolve_layout(raw, 80, shapes({{1, 64, 80, 48}, {1, 80, 80, 48}}), 384, 640), ModelError,
               "(1, 64, 48, 80)");
  CHECK_THROWS(resolve_layout(raw, 80, shapes({{1, 64, 48, 80}}), 384, 640), ModelError, "do not fit");
}

/// If an export was cut, only the shapes show where the maps are.
void test_maps_of_a_cut_head() {
  const std::vector<std::vector<int>> all = {{1, 64, 80, 80}, {1, 3, 80, 80},  {1, 32, 80, 80},  {1, 64, 40, 40},
                                             {1, 3, 40, 40},  {1, 32, 40, 40}, {1, 32, 160, 160}};
  const HeadLayout found = resolve_layout(layout_of(Head::raw, Task::segment), 3, shapes(all), 640, 640);
  CHECK(found.reg_max == 16 && found.strides == (std::vector<int>{8, 16}) && found.extra == 32);
  CHECK_THROWS(resolve_layout(layout_of(Head::raw, Task::pose, 51), 3, shapes({all[0], all[1]}), 640, 640), ModelError,
               "not the raw maps of a head");
  CHECK_THROWS(resolve_layout(layout_of(Head::raw, Task::pose, 51), 3, shapes({all[0], all[1], all[2]}), 640, 640),
               ModelError, "(1, 51, 80, 80)");
}

/// Missing and wrong metadata.
void test_layouts_that_only_shapes_tell() {
  const auto of = [](const std::vector<int>& shape, int classes, Head said = Head::boxes, int side = 640) {
    return resolve_layout(layout_of(said, Task::detect), classes, shapes({shape}), side, side);
  };
  for (const Head said : {Head::unknown, Head::boxes}) {
    const HeadLayout v10 = of({1, 300, 6}, 80, said);
    CHECK(v10.head == Head::end2end && !v10.nms && !v10.centered);
    const HeadLayout v5 = of({1, 25200, 85}, 80, said);
    CHECK(v5.head == Head::rows && v5.nms && v5.objectness && v5.classes == 80 && !v5.normalized);
    CHECK(of({5, 7}, 80, said).head == Head::indexed && !of({0, 7}, 80, said).nms);
  }
  CHECK(of({1, 84, 8400}, 80).head == Head::boxes);
  CHECK(of({1, 25200, 6}, 1).objectness && !of({1, 300, 6}, 1).objectness);  // one class: YOLOv5, and end to end
  CHECK(of({1, 300, 6}, 296).head == Head::end2end || of({1, 300, 6}, 296).head == Head::boxes);
  CHECK(of({1, 84, 8400}, 0).classes == 80 && of({1, 25200, 85}, 0).classes == 80);
  CHECK_THROWS(of({1, 84, 8400}, 81), ModelError, "the head has 80 classes and the model names 81: give names=");
  CHECK_THROWS(of({1, 25200, 84}, 80), ModelError, "export it again");
  CHECK_THROWS(of({1, 300, 84}, 80), ModelError, "export it again");  // of RT-DETR, but nothing says so
}

void test_layouts_of_transformers() {
  HeadLayout detr = layout_of(Head::end2end, Task::detect);
  detr.transformer = true;
  const auto of = [&](const std::vector<int>& shape, int classes) {
    return resolve_layout(detr, classes, shapes({shape}), 640, 640);
  };
  const HeadLayout rows = of({1, 300, 6}, 80);
  CHECK(rows.head == Head::end2end && rows.centered && rows.normalized && !rows.nms);
  const HeadLayout scores = of({1, 300, 84}, 80);
  CHECK(scores.head == Head::rows && scores.normalized && !scores.nms && !scores.objectness);
  CHECK_THROWS(of({1, 300, 83}, 80), ModelError, "export it again");
  HeadLayout poses = layout_of(Head::end2end, Task::pose, 51);  // with keypoints after the scores
  poses.transformer = true;
  CHECK_THROWS(resolve_layout(poses, 80, shapes({{1, 300, 84}}), 640, 640), ModelError, "export it again");
  CHECK(resolve_layout(poses, 80, shapes({{1, 300, 135}}), 640, 640).head == Head::rows);
}

void test_layouts_of_classifiers() {
  const HeadLayout probs = layout_of(Head::probs, Task::classify);
  CHECK(resolve_layout(probs, 10, shapes({{1, 10}}), 64, 64).classes == 10);
  CHECK(resolve_layout(probs, 0, shapes({{4, 10, 1, 1}}), 64, 64).classes == 10);
  CHECK_THROWS(resolve_layout(probs, 9, shapes({{1, 10}}), 64, 64), ModelError, "names=");
  CHECK_THROWS(resolve_layout(probs, 10, shapes({{1, 10, 7, 7}}), 64, 64), ModelError, "(batch, 10)");
}

void test_layouts_of_tasks() {
  const HeadLayout segment = layout_of(Head::boxes, Task::segment);
  CHECK(resolve_layout(segment, 80, shapes({{1, 116, 8400}, {1, 32, 160, 160}}), 640, 640).extra == 32);
  CHECK_THROWS(resolve_layout(segment, 80, shapes({{1, 116, 8400}, {1, 32, 80, 80}}), 640, 640), ModelError,
               "prototypes (batch, coefficients, 160, 160)");
  CHECK_THROWS(resolve_layout(segment, 80, shapes({{1, 116, 8400}}), 640, 640), ModelError, "task 'segment'");
  CHECK_THROWS(resolve_layout(segment, 80, shapes({{1, 115, 8400}, {1, 32, 160, 160}}), 640, 640), ModelError,
               "4 + 80 classes + 32");
  const HeadLayout rows = layout_of(Head::end2end, Task::pose, 51);
  CHECK(resolve_layout(rows, 1, shapes({{1, 300, 57}}), 640, 640).classes == 1);
  CHECK_THROWS(resolve_layout(rows, 1, shapes({{1, 300, 56}}), 640, 640), ModelError, "(batch, rows, 6 + 51)");
  HeadLayout raw = layout_of(Head::raw, Task::obb, 1);
  raw.reg_max = 1;
  raw.strides = {8};
  CHECK(resolve_layout(raw, 0, shapes({{1, 4, 8, 8}, {1, 15, 8, 8}, {1, 1, 8, 8}}), 64, 64).classes == 15);
  CHECK_THROWS(resolve_layout(raw, 15, shapes({{1, 4, 8, 8}, {1, 15, 8, 8}}), 64, 64), ModelError, "(1, 1, 8, 8)");
}

void test_extra_values() {
  // The second image of two; channels are padded to 5 cells.
  std::vector<std::uint16_t> half;
  for (int i = 0; i < 2 * 7 * 5; ++i) half.push_back(float_to_half(static_cast<float>(i)));
  HeadLayout layout = layout_of(Head::boxes, Task::pose, 2);
  layout.classes = 1;
  std::vector<Tensor> outputs = {{half.data(), {2, 7, 4}, 5, Type::f16}};
  float values[3] = {};
  ExtraValues(layout, outputs, 1).read(3, values);
  CHECK(values[0] == 35 + 25 + 3 && values[1] == 35 + 30 + 3);

  std::vector<float> floats(half.size());
  for (std::size_t i = 0; i < floats.size(); ++i) floats[i] = static_cast<float>(i);
  layout.head = Head::end2end;
  outputs = {{floats.data(), {1, 3, 8}, 9, Type::f32}};
  ExtraValues(layout, outputs, 0).read(2, values);
  CHECK(values[0] == 18 + 6 && values[1] == 18 + 7);

  layout.head = Head::raw;
  layout.strides = {8, 16};
  const Tensor none{floats.data(), {1, 1, 1, 1}, 1, Type::f32};
  outputs = {none, none, {floats.data(), {1, 2, 2, 4}, 8, Type::f32},
             none, none, {floats.data() + 20, {1, 2, 1, 2}, 3, Type::f32}};
  ExtraValues(layout, outputs, 0).read(9, values);
  const Cell cell = ExtraValues(layout, outputs, 0).cell(9);
  CHECK(values[0] == 21 && values[1] == 24);
  CHECK(cell.x == 1.5f && cell.y == 0.5f && cell.stride == 16);
  floats[24] = 1.0f / 0.0f;
  CHECK_THROWS(ExtraValues(layout, outputs, 0).read(9, values), EngineError, "infinity");
}

}  // namespace

int main() {
  test_layouts();
  test_layouts_that_only_shapes_tell();
  test_layouts_of_transformers();
  test_layouts_of_classifiers();
  test_layouts_of_tasks();
  test_maps_of_a_cut_head();
  test_extra_values();
  return check::result();
}
