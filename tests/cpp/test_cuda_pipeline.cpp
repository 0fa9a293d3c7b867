// Compares the GPU's letterbox, decoding and NMS, and the host code around them, with the CPU's, on a driver without a
// GPU (fake_cuda.cpp).
#include "cuda/pipeline.h"

#include <cmath>
#include <cstring>

#include "check.h"
#include "cuda_model.h"
#include "environment.h"
#include "ops/letterbox.h"

using namespace yolort;

namespace {

void test_letterbox() {
  struct Case {
    int width, height;
    PixelFormat format;
    std::ptrdiff_t extra;  ///< padding bytes after a row
    bool upside_down;
    double scale = 1;
    bool mirrored = false;
  };
  for (const Type type : {Type::f32, Type::f16}) {
    for (const Case& c :
         {Case{96, 64, PixelFormat::bgr, 0, false}, Case{200, 60, PixelFormat::rgb, 5, false},
          Case{1, 1, PixelFormat::gray, 0, false}, Case{33, 500, PixelFormat::bgra, 0, true},
          Case{640, 427, PixelFormat::rgba, 12, true}, Case{7, 5, PixelFormat::bgr, 1, false},
          Case{97, 129, PixelFormat::bgr, 0, false}, Case{97, 129, PixelFormat::bgr, 0, false, 0.7, true},
          Case{300, 40, PixelFormat::gray, 2, true, 1, true}, Case{1, 3, PixelFormat::rgb, 0, false, 0.5, true},
          Case{50, 41, PixelFormat::bgra, 0, false, 1, true}, Case{2000, 1300, PixelFormat::gray, 3, false}}) {
      Model model(Head::raw, 1, true, 2, type);
      Gpu gpu(model);
      const int step = order_of(c.format).step;
      const std::ptrdiff_t stride = c.width * step + c.extra;
      const auto pixels = noise(static_cast<std::size_t>(stride * c.height));
      Image image{pixels.data(), c.width, c.height, stride, c.format};
      if (c.upside_down) {
        image.pixels += stride * (c.height - 1);
        image.stride = -stride;
      }
      gpu.detect({image, image}, {}, c.scale, c.mirrored);
      std::vector<float> expected(gpu.input.data() ? static_cast<std::size_t>(2 * model.batch * 3 * 64 * 96) : 0);
      Tensor on_host = gpu.to;
      on_host.data = expected.data();
      const Geometry geometry = Geometry::fit(c.width, c.height, model.width, model.height, c.scale, c.mirrored);
      for (int i = 0; i < 2; ++i) Letterbox()(image, geometry, on_host, i, false);
      CHECK(std::memcmp(expected.data(), gpu.input.data(), Gpu::bytes(gpu.to)) == 0);
    }
  }
}

void test_decode() {
  const auto pixels = noise(96 * 64 * 3);
  const std::vector<Image> images = {{pixels.data(), 96, 64}, {pixels.data(), 48, 64}, {pixels.data(), 96, 20}};
  std::size_t seen = 0;
  for (const Type type : {Type::f32, Type::f16}) {
    for (const Head head : {Head::raw, Head::boxes, Head::end2end}) {
      for (const int reg_max : {1, 16}) {
        for (const bool nms : {true, false}) {
          Model model(head, reg_max, nms, 3, type);
          Gpu gpu(model);
          Thresholds loose;
          loose.conf = 0.05f;
          Thresholds few;
          few.max_det = 3;
          Thresholds every = loose;
          every.multi_label = true;
          every.iou = 0.3f;
          Thresholds some = loose;
          some.classes = {1, 4};
          some.agnostic = true;
          Thresholds each = some;
          each.class_conf = {0.5f, 0.3f, 0.05f, 0.5f, 0.02f};
          Thresholds all;
          all.conf = 0;
          all.max_det = 2000;
          for (const Thresholds& thresholds : {Thresholds(), loose, few, every, some, each, all}) {
            const auto found = gpu.detect(images, thresholds);
            for (const Detections& one : found) seen += one.size();
            CHECK(same(found, on_cpu(model, images, thresholds)));
            CHECK(same(gpu.detect(images, thresholds, 0.8, true), on_cpu(model, images, thresholds, 0.8, true)));
          }
        }
      }
    }
  }
  CHECK(seen > 1000);
}

void test_fewer_images_than_the_batch() {
  Model model(Head::raw, 1, true, 3, Type::f32);
  Gpu gpu(model);
  const auto pixels = noise(96 * 64 * 3);
  const std::vector<Image> images = {{pixels.data(), 96, 64}};
  CHECK(same(gpu.detect(images, {}), on_cpu(model, images, {})));
}

void test_graph() {
  Model model(Head::raw, 16, true, 1, Type::f32);
  Gpu gpu(model);
  const auto pixels = noise(400 * 300 * 3);
  fake().graph_launches = 0;
  Thresholds more;
  more.conf = 0.02f;
  more.max_det = 1000;
  more.classes = {0, 2};
  const std::pair<int, int> sizes[] = {{96, 64}, {400, 300}, {20, 90}, {96, 64}, {300, 300}};
  int run = 0;
  for (const auto& [width, height] : sizes) {  // the same graph is used for every size and setting
    const std::vector<Image> images = {{pixels.data(), width, height}};
    const Thresholds thresholds = run++ % 2 ? more : Thresholds();
    CHECK(same(gpu.detect(images, thresholds), on_cpu(model, images, thresholds)));
  }
  CHECK(fake().graph_launches == 4);
  CHECK(gpu.queued == 2);  // once, and once into the graph
  gpu.pipeline->forget_graph();
  gpu.detect({{pixels.data(), 96, 64}}, {});
  CHECK(gpu.queued == 3 && fake().graph_launches == 4);

  Model other(Head::raw, 16, true, 1, Type::f32);
  Gpu second(other);
  fake().refuse_capture = true;
  for (int i = 0; i < 4; ++i) {
    const std::vector<Image> images = {{pixels.data(), 96, 64}};
    CHECK(same(second.detect(images, {}), on_cpu(other, images, {})));
  }
  fake().refuse_capture = false;
  CHECK(fake().graph_launches == 4 && second.queued == 5);  // the captured one was not run
}

void test_what_the_cpu_has_to_do() {
  const auto pixels = noise(96 * 64 * 3);
  const std::vector<Image> images = {{pixels.data(), 96, 64}, {pixels.data(), 96, 64}};
  Thresholds all;
  all.conf = 0;
  all.multi_label = true;
  {
    Model model(Head::raw, 1, false, 2, Type::f32, 640, 960);  // 12,600 cells of 5 classes
    Gpu gpu(model);
    const int before = fake().copies_to_host;
    gpu.detect(images, {});
    CHECK(fake().copies_to_host == before);
    CHECK(same(gpu.detect(images, all), on_cpu(model, images, all)));
    CHECK(fake().copies_to_host == before + 6);
  }
  for (const Head head : {Head::raw, Head::boxes, Head::end2end}) {
    Model model(head, 1, true, 2, Type::f32);
    Gpu gpu(model);
    gpu.detect(images, {});
    model.values.back().back() = head == Head::end2end ? 7.0f : NAN;  // in the second image
    if (head == Head::end2end) {
      model.values.back()[model.values.back().size() - 2] = 0.9f;
      CHECK_THROWS(gpu.detect(images, {}), ModelError, "class 7");
    } else {
      CHECK_THROWS(gpu.detect(images, {}), EngineError, "NaN");
    }
    model.values.back().back() = 0;
    CHECK(same(gpu.detect(images, {}), on_cpu(model, images, {})));  // it goes on
  }
}

void test_images_of_the_gpu() {
  Model model(Head::raw, 1, true, 2, Type::f32);
  Gpu gpu(model);
  const auto pixels = noise(200 * 100 * 3);
  CudaBuffer on_gpu(gpu.device, CudaBuffer::Place::device);
  on_gpu.reserve(pixels.size());
  std::memcpy(on_gpu.data(), pixels.data(), pixels.size());
  const Image host{pixels.data(), 200, 100};
  Image device = host;
  device.pixels = static_cast<const std::uint8_t*>(on_gpu.data());
  device.memory = Memory::cuda;
  const std::size_t half = Gpu::bytes(gpu.to) / 2;
  gpu.detect({host, device}, {});
  CHECK(std::memcmp(gpu.input.data(), static_cast<unsigned char*>(gpu.input.data()) + half, half) == 0);
  CHECK(fake().waits == 0);
  device.stream = gpu.stream;
  gpu.detect({device, device}, {});
  CHECK(fake().waits == 2);

  Image wrong = host;
  wrong.memory = Memory::cuda;
  CHECK_THROWS(gpu.detect({wrong}, {}), std::invalid_argument, "its pointer is not");
  fake().ordinal = 1;
  CHECK_THROWS(gpu.detect({device}, {}), std::invalid_argument, "it is on cuda:1, but the Detector on cuda:0");
  fake().ordinal = 0;

  CudaBuffer pinned(gpu.device, CudaBuffer::Place::host);
  pinned.reserve(pixels.size());
  std::memcpy(pinned.data(), pixels.data(), pixels.size());
  Image direct = host;
  direct.pixels = static_cast<const std::uint8_t*>(pinned.data());
  gpu.detect({host, direct}, {});
  CHECK(std::memcmp(gpu.input.data(), static_cast<unsigned char*>(gpu.input.data()) + half, half) == 0);
}

void test_kernels_that_do_not_fit() {
  const auto device = std::make_shared<const CudaDevice>(0);
  fake().refuse_module = true;
  CHECK(!CudaKernels::load(device));
  fake().refuse_module = false;
  check::set_variable("YOLORT_CUDA_KERNELS", "0");
  CHECK(!CudaKernels::load(device));
  check::unset_variable("YOLORT_CUDA_KERNELS");
  CHECK(CudaKernels::load(device));
}

}  // namespace

int main() {
  if (!CudaKernels::load(std::make_shared<const CudaDevice>(0))) {
    std::puts("skipped: built without nvcc");
    return 77;
  }
  test_letterbox();
  test_decode();
  test_fewer_images_than_the_batch();
  test_graph();
  test_what_the_cpu_has_to_do();
  test_images_of_the_gpu();
  test_kernels_that_do_not_fit();
  CHECK(fake().allocations == 0);
  return check::result();
}
