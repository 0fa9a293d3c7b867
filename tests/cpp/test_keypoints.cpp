#include "ops/keypoints.h"

#include <cmath>

#include "check.h"

using namespace yolort;

namespace {

HeadLayout layout_of(int count, int size) {
  HeadLayout out;
  out.task = Task::pose;
  out.kpt_shape = {count, size};
  return out;
}

bool near(float a, double b) { return std::fabs(a - b) < 1e-4; }

void test_raw_heads() {
  HeadLayout layout = layout_of(1, 3);
  float values[] = {0.25f, -1, 0};
  decode_keypoints(layout, {2.5f, 3.5f, 8}, values);  // (0.5 + 2) * 8, (-2 + 3) * 8
  CHECK(near(values[0], 20) && near(values[1], 8) && near(values[2], 0.5));
  layout.direct = true;
  float direct[] = {0.25f, -1, 0};
  decode_keypoints(layout, {2.5f, 3.5f, 8}, direct);  // (0.25 + 2.5) * 8, (-1 + 3.5) * 8
  CHECK(near(direct[0], 22) && near(direct[1], 20) && near(direct[2], 0.5));
}

void test_points_of_the_image() {
  const HeadLayout layout = layout_of(2, 3);
  float values[] = {32, 20, 0.7f, -5, 90, 0.1f};
  keypoints_to_image(layout, Geometry::fit(200, 100, 64, 64), values);  // the image begins at row 16
  CHECK(near(values[0], 100) && near(values[1], 12.5) && values[2] == 0.7f);
  CHECK(values[3] == 0 && values[4] == 100 && values[5] == 0.1f);  // clipped
}

void test_mirrored_points_change_places() {
  HeadLayout layout = layout_of(3, 2);
  layout.flip_idx = {0, 2, 1};
  float values[] = {1, 10, 2, 20, 3, 30};
  keypoints_to_image(layout, Geometry::fit(64, 64, 64, 64, 1, true), values);
  const float expected[] = {63, 10, 61, 30, 62, 20};
  for (int i = 0; i < 6; ++i) CHECK(near(values[i], expected[i]));
}

void test_counterparts() {
  CHECK(counterparts(layout_of(17, 3), {"person"})[16] == 15);
  CHECK(counterparts(layout_of(17, 3), {"dog"}).empty());
  CHECK(counterparts(layout_of(5, 3), {"person"}).empty());
  HeadLayout own = layout_of(2, 3);
  own.flip_idx = {1, 0};
  CHECK(counterparts(own, {"dog"}) == own.flip_idx);
}

void test_limbs() {
  ModelSpec spec;
  spec.layout = layout_of(17, 3);
  CHECK(limbs_of(spec).empty());
  spec.names = {"person"};
  CHECK(limbs_of(spec).size() == 19 && problem_of(limbs_of(spec), 17).empty());
  spec.skeleton = {{0, 1}};
  CHECK(limbs_of(spec) == spec.skeleton);
}

void test_what_does_not_fit_the_keypoints() {
  CHECK(problem_of(std::vector<int>{0, 2, 1}, 3).empty());
  CHECK(problem_of(counterparts(layout_of(17, 3), {"person"}), 17).empty());
  for (const std::vector<int>& flip : std::vector<std::vector<int>>{{0, 1}, {1, 2, 0}, {0, 2, 3}, {0, -1, 1}}) {
    CHECK(!problem_of(flip, 3).empty());
  }
  CHECK(problem_of(Skeleton{{0, 2}, {2, 1}}, 3).empty());
  CHECK(problem_of(Skeleton{{0, 3}}, 3).find("from keypoint 0 to 3") != std::string::npos);
  CHECK(!problem_of(Skeleton{{-1, 0}}, 3).empty());
  CHECK(!problem_of(Skeleton(5000, {0, 1}), 3).empty());
}

}  // namespace

int main() {
  test_raw_heads();
  test_points_of_the_image();
  test_mirrored_points_change_places();
  test_counterparts();
  test_limbs();
  test_what_does_not_fit_the_keypoints();
  return check::result();
}
