#include "ops/decode.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include "check.h"
#include "ops/half.h"

using namespace yolort;

namespace {

constexpr float nan = std::numeric_limits<float>::quiet_NaN();
constexpr float infinity = std::numeric_limits<float>::infinity();

/// A raw head of two levels on a 64 x 32 input (height x width), every logit low.
struct RawHead {
  int classes = 3, reg_max = 1;
  std::vector<float> data[4];
  std::vector<Tensor> outputs;
  HeadLayout layout;

  explicit RawHead(int bins, bool nms, int padding = 0) : reg_max(bins) {
    layout.head = Head::raw;
    layout.nms = nms;
    layout.classes = classes;
    layout.reg_max = bins;
    layout.strides = {8, 16};
    for (int i = 0; i < 4; ++i) {
      const int stride = layout.strides[static_cast<std::size_t>(i / 2)], rows = 64 / stride, columns = 32 / stride;
      const int channels = i % 2 ? classes : 4 * bins;
      const int channel_stride = rows * columns + padding;
      data[i].assign(static_cast<std::size_t>(channels * channel_stride), i % 2 ? -20.0f : 0.0f);
      outputs.push_back({data[i].data(), {1, channels, rows, columns}, channel_stride, Type::f32});
    }
  }
  float& at(int output, int channel, int y, int x) {
    const Tensor& t = outputs[static_cast<std::size_t>(output)];
    return static_cast<float*>(t.data)[channel * t.channel_stride + y * t.shape[3] + x];
  }
};

Detections decode(const RawHead& head, const Thresholds& thresholds = {}) {
  return Decoder()(head.layout, head.outputs, 0, Geometry::fit(32, 64, 32, 64), thresholds);
}

bool near(float a, double b) { return std::fabs(a - b) < 1e-4; }

void test_raw_distances() {
  for (const int padding : {0, 3}) {
    RawHead head(1, true, padding);
    head.at(1, 2, 5, 1) = 2;  // level 0, class 2, cell (1, 5): center (12, 44)
    for (int side = 0; side < 4; ++side) head.at(0, side, 5, 1) = 0.5f + 0.25f * static_cast<float>(side);
    const Detections found = decode(head);
    CHECK(found.size() == 1);
    if (found.empty()) return;
    CHECK(found.classes[0] == 2);
    CHECK(near(found.scores[0], 1 / (1 + std::exp(-2.0))));
    const Box& box = found.boxes[0];
    CHECK(near(box.x1, 12 - 4) && near(box.y1, 44 - 6) && near(box.x2, 12 + 8) && near(box.y2, 44 + 10));
  }
}

void test_raw_distributions() {
  RawHead head(16, true);
  head.at(3, 0, 2, 0) = 3;  // level 1: center (8, 40)
  for (int side = 0; side < 4; ++side) {
    for (int bin = 0; bin < 16; ++bin) head.at(2, side * 16 + bin, 2, 0) = bin == side ? 800.0f : 700.0f;
  }
  const Detections found = decode(head);
  CHECK(found.size() == 1);
  if (found.empty()) return;
  const Box& box = found.boxes[0];  // distances 0, 1, 2, 3 cells of 16 pixels
  CHECK(near(box.x1, 8) && near(box.y1, 24) && near(box.x2, 32) && near(box.y2, 64));  // x2 clipped to 32, y2 to 64
}

void test_one_to_one_keeps_every_class_and_runs_no_nms() {
  RawHead many(1, true), one(1, false);
  for (RawHead* head : {&many, &one}) {
    for (int x = 0; x < 2; ++x) {
      head->at(1, 0, 0, x) = 2;
      head->at(1, 1, 0, x) = 1;
      for (int side = 0; side < 4; ++side) head->at(0, side, 0, x) = 2;
    }
    head->at(0, 0, 0, 1) = 3;  // so that both boxes are nearly equal
    head->at(0, 2, 0, 1) = 1;
  }
  CHECK(decode(many).size() == 1);
  const Detections found = decode(one);
  CHECK(found.size() == 4);
  CHECK(found.size() == 4 && found.classes[0] == 0 && found.classes[2] == 1);
  Thresholds every;
  every.multi_label = true;
  CHECK(decode(many, every).size() == 2);
  every.agnostic = true;
  CHECK(decode(many, every).size() == 1);
}

void test_thresholds() {
  RawHead head(1, true);
  head.at(1, 0, 0, 0) = 0;  // score 0.5 exactly
  head.at(1, 1, 7, 3) = 1;
  Thresholds thresholds;
  thresholds.conf = 0.5f;
  CHECK(decode(head, thresholds).size() == 1);  // above, not equal
  thresholds.conf = 0.49999f;
  CHECK(decode(head, thresholds).size() == 2);
  thresholds.max_det = 1;
  CHECK(decode(head, thresholds).classes == std::vector<int>{1});
  thresholds.classes = {0, 2};
  CHECK(decode(head, thresholds).classes == std::vector<int>{0});
  thresholds = {};
  thresholds.class_conf = {0.5f, 0.8f, 0.4f};  // conf is not used for any class
  CHECK(decode(head, thresholds).empty());
  thresholds.class_conf = {0.4f, 0.7f, 0.4f};
  CHECK((decode(head, thresholds).classes == std::vector<int>{1, 0}));
  thresholds.classes = {0};
  CHECK(decode(head, thresholds).classes == std::vector<int>{0});
  CHECK_THROWS((thresholds.class_conf = {0.5f}, check_thresholds(thresholds, 3)), std::invalid_argument, "1 values");
  CHECK_THROWS((thresholds.class_conf = {0.5f, nan, 0.5f}, check_thresholds(thresholds, 3)), std::invalid_argument,
               "conf of a class");
  thresholds = {};
  thresholds.conf = 1;
  CHECK(decode(head, thresholds).empty());
  thresholds.conf = 0;
  CHECK(decode(head, thresholds).size() == 2 + 38);  // every other cell: a degenerate box at its own center

  CHECK_THROWS((thresholds.conf = 1.5f, check_thresholds(thresholds, 3)), std::invalid_argument, "conf");
  CHECK_THROWS((thresholds.conf = nan, check_thresholds(thresholds, 3)), std::invalid_argument, "conf");
  CHECK_THROWS((thresholds = {}, thresholds.iou = -0.1f, check_thresholds(thresholds, 3)), std::invalid_argument,
               "iou");
  CHECK_THROWS((thresholds = {}, thresholds.max_det = 0, check_thresholds(thresholds, 3)), std::invalid_argument,
               "max_det");
  CHECK_THROWS((thresholds = {}, thresholds.classes = {3}, check_thresholds(thresholds, 3)), std::invalid_argument,
               "not a class");
}

void test_not_finite() {
  for (const float bad : {nan, infinity, -infinity}) {
    for (const int x : {0, 3}) {
      RawHead scores(1, true);
      scores.at(1, 1, 2, x) = bad;
      CHECK_THROWS(decode(scores), EngineError, "NaN or infinity");
    }
    RawHead boxes(1, true);
    boxes.at(1, 1, 2, 1) = 4;
    boxes.at(0, 3, 2, 1) = bad;
    CHECK_THROWS(decode(boxes), EngineError, "NaN or infinity");
  }
}

void test_boxes_head() {
  std::vector<float> data(6 * 5, 0);
  data[0 * 5 + 2] = 16, data[1 * 5 + 2] = 30, data[2 * 5 + 2] = 8, data[3 * 5 + 2] = 20;  // cx cy w h
  data[5 * 5 + 2] = 0.75f;                                                                // class 1
  HeadLayout layout;
  layout.head = Head::boxes;
  layout.classes = 2;
  const std::vector<Tensor> outputs = {{data.data(), {1, 6, 5}, 5, Type::f32}};
  const Detections found = Decoder()(layout, outputs, 0, Geometry::fit(32, 64, 32, 64), {});
  CHECK(found.size() == 1 && found.classes[0] == 1 && found.scores[0] == 0.75f);
  CHECK(found.size() == 1 && found.boxes[0].x1 == 12 && found.boxes[0].y2 == 40);

  layout.normalized = true;  // the same box as fractions of 32 x 64
  for (const int row : {0, 2}) data[static_cast<std::size_t>(row * 5 + 2)] /= 32;
  for (const int row : {1, 3}) data[static_cast<std::size_t>(row * 5 + 2)] /= 64;
  const Detections same = Decoder()(layout, outputs, 0, Geometry::fit(32, 64, 32, 64), {});
  CHECK(same.size() == 1 && same.boxes[0].x1 == 12 && same.boxes[0].y2 == 40);
}

void test_end2end_head_of_the_second_image_in_half() {
  std::vector<std::uint16_t> data(2 * 3 * 6, 0);
  const float row[] = {1, 2, 9, 20, 0.5f, 1};
  for (int i = 0; i < 6; ++i) data[static_cast<std::size_t>(18 + 6 + i)] = float_to_half(row[i]);
  HeadLayout layout;
  layout.head = Head::end2end;
  layout.nms = false;
  layout.classes = 2;
  const std::vector<Tensor> outputs = {{data.data(), {2, 3, 6}, 6, Type::f16}};
  CHECK(Decoder()(layout, outputs, 0, Geometry::fit(32, 64, 32, 64), {}).empty());
  const Detections found = Decoder()(layout, outputs, 1, Geometry::fit(32, 64, 32, 64), {});
  CHECK(found.size() == 1 && found.boxes[0].x2 == 9 && found.classes[0] == 1);
  data[18 + 6 + 5] = float_to_half(7);
  CHECK_THROWS(Decoder()(layout, outputs, 1, Geometry::fit(32, 64, 32, 64), {}), ModelError, "class");
}

void test_centered_rows_in_shares_of_the_input() {
  const std::vector<float> data = {0.5f, 0.25f, 0.25f, 0.125f, 0.75f, 1, 0, 0, 0, 0, 0, 0};
  HeadLayout layout;
  layout.head = Head::end2end;
  layout.nms = false;
  layout.classes = 2;
  layout.normalized = layout.centered = true;
  const std::vector<Tensor> outputs = {{const_cast<float*>(data.data()), {1, 2, 6}, 6, Type::f32}};
  const Detections found = Decoder()(layout, outputs, 0, Geometry::stretch(320, 64, 32, 64), {});
  CHECK(found.size() == 1 && found.boxes[0].x1 == 120 && found.boxes[0].x2 == 200);
  CHECK(found.size() == 1 && found.boxes[0].y1 == 12 && found.boxes[0].y2 == 20);
}

void test_rows_with_objectness() {
  std::vector<float> data(2 * 3 * 8, 0);  // the second image of two, three anchors, three classes
  const float rows[2][8] = {{16, 30, 8, 20, 0.8f, 0.1f, 0.9f, 0.5f}, {16, 30, 8, 20, 0.2f, 1, 1, 1}};
  std::copy(rows[0], rows[0] + 16, data.begin() + 24 + 8);
  HeadLayout layout;
  layout.head = Head::rows;
  layout.objectness = true;
  layout.classes = 3;
  const std::vector<Tensor> outputs = {{data.data(), {2, 3, 8}, 8, Type::f32}};
  const Geometry geometry = Geometry::fit(32, 64, 32, 64);
  CHECK(Decoder()(layout, outputs, 0, geometry, {}).empty());
  const Detections found = Decoder()(layout, outputs, 1, geometry, {});
  CHECK(found.size() == 1 && found.classes[0] == 1 && found.scores[0] == 0.8f * 0.9f);
  CHECK(found.size() == 1 && found.boxes[0].x1 == 12 && found.boxes[0].y2 == 40);
  Thresholds all;
  all.multi_label = true;
  CHECK(Decoder()(layout, outputs, 1, geometry, all).size() == 2);  // 0.72 and 0.4
  Thresholds last;
  last.classes = {2};
  CHECK(Decoder()(layout, outputs, 1, geometry, last).empty());  // not its best
  data[24 + 8 + 6] = nan;
  CHECK_THROWS(Decoder()(layout, outputs, 1, geometry, {}), EngineError, "NaN");
  layout.objectness = false;
  layout.nms = false;
  layout.normalized = true;
  layout.classes = 4;
  std::vector<float> shares = {0.5f, 0.5f, 0.25f, 0.25f, 0.1f, 0.2f, 0.9f, 0.3f};
  const std::vector<Tensor> queries = {{shares.data(), {1, 1, 8}, 8, Type::f32}};
  const Detections best = Decoder()(layout, queries, 0, geometry, {});
  CHECK(best.size() == 1 && best.classes[0] == 2 && best.boxes[0].x1 == 12 && best.boxes[0].y2 == 40);
}

void test_rows_that_say_their_image() {
  std::vector<float> data = {1, 2, 3, 9, 20, 1, 0.5f, 0, 1, 1, 5, 5, 0, 0.75f, 1, 2, 3, 9, 20, 0, 0.1f};
  HeadLayout layout;
  layout.head = Head::indexed;
  layout.nms = false;
  layout.classes = 2;
  const std::vector<Tensor> outputs = {{data.data(), {3, 7}, 1, Type::f32}};
  const Geometry geometry = Geometry::fit(32, 64, 32, 64);
  const Detections first = Decoder()(layout, outputs, 0, geometry, {}),
                   second = Decoder()(layout, outputs, 1, geometry, {});
  CHECK(first.size() == 1 && first.classes[0] == 0 && first.boxes[0].x2 == 5);
  CHECK(second.size() == 1 && second.classes[0] == 1 && second.boxes[0].y2 == 20);
  const std::vector<Tensor> none = {{nullptr, {0, 7}, 1, Type::f32}};
  CHECK(Decoder()(layout, none, 0, geometry, {}).empty());
  data[5] = 2;
  CHECK_THROWS(Decoder()(layout, outputs, 1, geometry, {}), ModelError, "names=");
}

void test_turned_boxes_that_overflow() {
  HeadLayout layout;
  layout.head = Head::boxes;
  layout.task = Task::obb;
  layout.classes = layout.extra = 1;
  const float huge = std::numeric_limits<float>::max();
  std::vector<float> row = {0, 0, huge, 1, 0.9f, 0.8f};
  const std::vector<Tensor> outputs = {{row.data(), {1, 6, 1}, 1, Type::f32}};
  const Geometry geometry = Geometry::fit(64, 64, 32, 32);  // twice the size
  CHECK_THROWS(Decoder()(layout, outputs, 0, geometry, {}), EngineError, "infinity");
  row[2] = 10;
  const Detections found = Decoder()(layout, outputs, 0, geometry, {});
  CHECK(found.size() == 1 && found.rotated.size() == 1 && found.rotated[0].width == 20 && found.boxes[0].x1 == 0);
}

void test_nms() {
  std::vector<Candidate> all = {{{0, 0, 10, 10}, 0.9f, 0},
                                {{0, 0, 10, 10}, 0.8f, 1},
                                {{1, 0, 11, 10}, 0.7f, 0},
                                {{20, 0, 30, 10}, 0.6f, 0},
                                {{5, 5, 5, 5}, 0.5f, 0}};
  auto kept = all;
  non_maximum_suppression(kept, 0.7f, false, 300);  // IoU of 0 and 2: 90 / 110 = 0.818
  CHECK(kept.size() == 4 && kept[2].score == 0.6f);
  kept = all;
  non_maximum_suppression(kept, 0.82f, false, 300);
  CHECK(kept.size() == 5);
  kept = all;
  non_maximum_suppression(kept, 0.7f, true, 300);
  CHECK(kept.size() == 3);
  kept = all;
  non_maximum_suppression(kept, 0.7f, false, 2);
  CHECK(kept.size() == 2 && kept[1].cls == 1);
}

void test_column_max_of_every_table() {
  std::mt19937 random(2);
  std::normal_distribution<float> normal;
  for (const std::size_t n : {1u, 7u, 33u, 64u, 200u, 400u}) {
    std::vector<float> values((n + 3) * 80);
    for (float& value : values) value = normal(random);
    std::vector<float> expected(n), got(n);
    const auto stride = static_cast<std::ptrdiff_t>(n + 3);
    CHECK(scalar_kernels.column_max(values.data(), stride, 80, n, expected.data()));
    for (const Kernels* table : available_kernels()) {
      CHECK(table->column_max(values.data(), stride, 80, n, got.data()));
      CHECK(got == expected);
      for (const std::size_t column : {std::size_t{0}, n - 1}) {
        for (const float bad : {nan, infinity, -infinity}) {
          std::vector<float> tainted = values;
          tainted[40 * (n + 3) + column] = bad;
          CHECK(!table->column_max(tainted.data(), stride, 80, n, got.data()));
        }
      }
      values[40 * (n + 3) + n] = nan;  // between the columns: not read
      CHECK(table->column_max(values.data(), stride, 80, n, got.data()));
      values[40 * (n + 3) + n] = 0;
    }
  }
}

}  // namespace

int main() {
  test_raw_distances();
  test_raw_distributions();
  test_one_to_one_keeps_every_class_and_runs_no_nms();
  test_thresholds();
  test_not_finite();
  test_boxes_head();
  test_end2end_head_of_the_second_image_in_half();
  test_centered_rows_in_shares_of_the_input();
  test_rows_with_objectness();
  test_rows_that_say_their_image();
  test_turned_boxes_that_overflow();
  test_nms();
  test_column_max_of_every_table();
  return check::result();
}
