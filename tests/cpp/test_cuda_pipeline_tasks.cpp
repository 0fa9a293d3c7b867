// Compares the GPU's masks, keypoints and rotated boxes with the CPU's, on a driver without a GPU (fake_cuda.cpp).
#include <algorithm>
#include <cmath>

#include "check.h"
#include "cuda_model.h"

namespace {

void test_tasks() {
  const auto pixels = noise(130 * 90 * 3);
  const std::vector<Image> images = {{pixels.data(), 130, 90}, {pixels.data(), 48, 64}};
  std::size_t seen = 0;
  for (const Task task : {Task::segment, Task::pose, Task::obb}) {
    for (const Head head : {Head::raw, Head::boxes, Head::end2end}) {
      for (const Type type : {Type::f32, Type::f16}) {
        for (const bool direct : {true, false}) {
          Model model(head, direct ? 1 : 16, head != Head::end2end, 2, type, 64, 96, task);
          model.layout.direct = direct;
          Gpu gpu(model);
          Thresholds loose;
          loose.conf = 0.1f;
          loose.iou = 0.4f;
          loose.agnostic = direct;
          for (int run = 0; run < 3; ++run) {  // the last with a graph
            const auto found = gpu.detect(images, loose);
            for (const Detections& one : found) seen += one.size();
            CHECK(same(found, on_cpu(model, images, loose)));
          }
          CHECK(same(gpu.detect(images, {}, 0.8, true), on_cpu(model, images, {}, 0.8, true)));
        }
      }
    }
  }
  CHECK(seen > 1000);
}

void test_what_tasks_refuse() {
  const auto pixels = noise(96 * 64 * 3);
  const std::vector<Image> images = {{pixels.data(), 96, 64}, {pixels.data(), 96, 64}};
  for (const Task task : {Task::segment, Task::pose, Task::obb}) {
    Model model(Head::boxes, 1, true, 2, Type::f32, 64, 96, task);
    Gpu gpu(model);
    const std::vector<float> before = model.values.back();
    std::fill(model.values.back().end() - (task == Task::segment ? 16 * 24 : 126), model.values.back().end(), NAN);
    CHECK_THROWS(gpu.detect(images, {}), EngineError, "NaN");
    model.values.back() = before;
    model.outputs.back().data = model.values.back().data();
    CHECK(same(gpu.detect(images, {}), on_cpu(model, images, {})));  // it goes on
  }
  Model model(Head::boxes, 1, true, 1, Type::f32, 64, 96, Task::segment);
  std::vector<float>& values = model.values.front();
  for (int anchor = 0; anchor < 126; ++anchor) {  // each box is the whole input and has its own class
    const float box[] = {48, 32, 96, 64};
    for (std::size_t k = 0; k < 9; ++k) values[k * 126 + static_cast<std::size_t>(anchor)] = k < 4 ? box[k] : 0.9f;
  }
  Gpu gpu(model);
  Thresholds all;
  all.iou = 1;
  const auto large = std::vector<std::uint8_t>(static_cast<std::size_t>(12000) * 8000 * 1);
  CHECK_THROWS(gpu.detect({{large.data(), 12000, 8000, 0, PixelFormat::gray}}, all), std::invalid_argument,
               "lower max_det");
}

}  // namespace

int main() {
  if (!CudaKernels::load(std::make_shared<const CudaDevice>(0))) {
    std::puts("skipped: built without nvcc");
    return 77;
  }
  test_tasks();
  test_what_tasks_refuse();
  CHECK(fake().allocations == 0);
  return check::result();
}
