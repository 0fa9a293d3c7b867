#include "ops/rotated.h"

#include <cmath>

#include "check.h"
#include "ops/coordinates.h"

using namespace yolort;

namespace {

bool near(float a, double b) { return std::fabs(a - b) < 1e-4; }

Candidate candidate(const RotatedBox& box, float score, int cls = 0) {
  return {{box.cx - box.width / 2, box.cy - box.height / 2, box.cx + box.width / 2, box.cy + box.height / 2},
          score,
          cls,
          0,
          box.angle};
}

void test_corners_and_hull() {
  const std::array<float, 8> plain = corners({10, 20, 6, 4, 0});
  const float expected[] = {13, 22, 13, 18, 7, 18, 7, 22};
  for (std::size_t i = 0; i < 8; ++i) CHECK(near(plain[i], expected[i]));
  const Box turned = hull({10, 20, 6, 4, 1.5707963f});
  CHECK(near(turned.x1, 8) && near(turned.y1, 17) && near(turned.x2, 12) && near(turned.y2, 23));
  const std::array<float, 8> slanted = corners({0, 0, 2, 0, 0.5235988f});  // 30 degrees, clockwise: y grows downwards
  CHECK(near(slanted[0], std::sqrt(3) / 2) && near(slanted[1], 0.5));
}

void test_probabilistic_iou() {
  // Ultralytics' batch_probiou of the same boxes.
  CHECK(near(probabilistic_iou({10, 10, 8, 4, 0.3f}, {10, 10, 8, 4, 0.3f}), 1 - std::sqrt(2e-7)));
  CHECK(near(probabilistic_iou({10, 10, 8, 4, 0.3f}, {11, 10, 8, 4, 0.3f}), 0.829281));
  CHECK(near(probabilistic_iou({10, 10, 8, 4, 0.3f}, {12, 9, 6, 5, -0.7f}), 0.496152));
  CHECK(probabilistic_iou({0, 0, 2, 2, 0}, {500, 0, 2, 2, 0}) < 1e-6f);
}

void test_suppressed_boxes_suppress_too() {
  // Each overlaps its neighbors by 0.88, those beyond by 0.76.
  const std::vector<Candidate> row = {candidate({0, 0, 20, 10, 0.1f}, 0.9f), candidate({2, 0, 20, 10, 0.1f}, 0.8f),
                                      candidate({4, 0, 20, 10, 0.1f}, 0.7f), candidate({4, 0, 20, 10, 0.1f}, 0.6f, 1)};
  CHECK(probabilistic_iou(rotated_box(row[0]), rotated_box(row[1])) > 0.8f);
  CHECK(probabilistic_iou(rotated_box(row[0]), rotated_box(row[2])) < 0.8f);
  std::vector<Candidate> kept = row;
  rotated_suppression(kept, 0.8f, false, 300);
  CHECK(kept.size() == 2 && kept[0].score == 0.9f && kept[1].cls == 1);
  kept = row;
  rotated_suppression(kept, 0.8f, true, 300);
  CHECK(kept.size() == 1);
  kept = row;
  rotated_suppression(kept, 0.95f, false, 3);
  CHECK(kept.size() == 3 && kept[2].score == 0.7f);
  kept = {row[0], row[0]};
  rotated_suppression(kept, 1, false, 300);
  CHECK(kept.size() == 2);
  kept = row;
  rotated_suppression(kept, 0, false, 300);
  CHECK(kept.size() == 2);
}

void test_angles() {
  HeadLayout layout;
  layout.head = Head::boxes;
  Candidate plain = candidate({10, 10, 4, 2, 0}, 1);
  turn(plain, layout, {}, 0.5f);
  CHECK(plain.angle == 0.5f && near(plain.box.x1, 8) && near(plain.box.y2, 11));

  layout.head = Head::raw;  // the cell's center is (20, 12); the box's is 4 to the right of it, and turns by a quarter
  Candidate raw = candidate({24, 12, 6, 2, 0}, 1);
  turn(raw, layout, {2.5f, 1.5f, 8}, 1.0986123f);  // sigmoid: 0.75
  CHECK(near(raw.angle, 1.5707963));
  CHECK(near((raw.box.x1 + raw.box.x2) / 2, 20) && near((raw.box.y1 + raw.box.y2) / 2, 16));
  CHECK(near(raw.box.x2 - raw.box.x1, 6));
  layout.direct = true;
  Candidate direct = candidate({24, 12, 6, 2, 0}, 1);
  turn(direct, layout, {2.5f, 1.5f, 8}, -1.5707963f);
  CHECK(near((direct.box.y1 + direct.box.y2) / 2, 8) && near(direct.angle, -1.5707963));
}

void test_boxes_of_the_image() {
  const Geometry g = Geometry::fit(200, 100, 64, 64), mirrored = Geometry::fit(200, 100, 64, 64, 1, true);
  const RotatedBox box = g.to_image(RotatedBox{32, 20, 6.4f, 3.2f, 0.5f});  // the image begins at row 16
  CHECK(near(box.cx, 100) && near(box.cy, 12.5) && near(box.width, 20) && near(box.height, 10) && box.angle == 0.5f);
  const RotatedBox other = mirrored.to_image(RotatedBox{16, 20, 6.4f, 3.2f, 0.5f});
  CHECK(near(other.cx, 150) && other.angle == -0.5f);
}

}  // namespace

int main() {
  test_corners_and_hull();
  test_probabilistic_iou();
  test_suppressed_boxes_suppress_too();
  test_angles();
  test_boxes_of_the_image();
  return check::result();
}
