// The GPU's letterbox, decoding and NMS, and the work of the host around them, against the CPU's; on a driver without a
// GPU (fake_cuda.cpp).
#include "cuda/pipeline.h"

#include <dlfcn.h>

#include <cmath>
#include <cstring>
#include <random>

#include "check.h"
#include "environment.h"
#include "fake_cuda.h"
#include "ops/letterbox.h"

using namespace yolort;

namespace {

FakeCuda& fake() {
  static auto* state = reinterpret_cast<FakeCudaState*>(dlsym(dlopen("libcuda.so.1", RTLD_NOW), "fake_cuda"))();
  return *state;
}

std::mt19937 random_bits(7);

float uniform(float least, float most) { return std::uniform_real_distribution<float>(least, most)(random_bits); }

/// A model with a head of any kind, whose outputs are random and do not depend on the image.
struct Model {
  HeadLayout layout;
  int batch, height, width;
  std::vector<std::vector<float>> values;
  std::vector<std::vector<std::uint16_t>> halves;
  std::vector<Tensor> outputs;  ///< of the host
  Type type;

  Model(Head head, int reg_max, bool nms, int images, Type type, int height = 64, int width = 96)
      : batch(images), height(height), width(width), type(type) {
    constexpr float density = 0.1f;  // of cells that hold something
    layout.head = head;
    layout.nms = nms;
    layout.classes = 5;
    layout.reg_max = reg_max;
    const auto add = [&](std::vector<int> shape, auto value) {
      std::vector<float> all;
      const std::ptrdiff_t cells = shape.size() == 4 ? shape[2] * shape[3] : shape[2];
      for (int i = 0; i < batch; ++i) {
        for (int channel = 0; channel < shape[1]; ++channel) {
          for (std::ptrdiff_t cell = 0; cell < cells; ++cell) all.push_back(value(channel, cell));
        }
      }
      std::vector<std::uint16_t> half;
      for (float& one : all) {
        half.push_back(float_to_half(one));
        if (type == Type::f16) one = half_to_float(half.back());
      }
      values.push_back(std::move(all));
      halves.push_back(std::move(half));
      outputs.push_back({nullptr, shape, cells, type});
    };
    if (head == Head::raw) {
      layout.strides = {8, 16, 32};
      for (const int stride : layout.strides) {
        add({batch, 4 * reg_max, height / stride, width / stride},
            [&](int, std::ptrdiff_t) { return reg_max == 1 ? uniform(0, 4) : uniform(-4, 4); });
        add({batch, 5, height / stride, width / stride},
            [&](int, std::ptrdiff_t) { return uniform(0, 1) < density ? uniform(-3, 3) : uniform(-9, -6); });
      }
    } else if (head == Head::boxes) {
      add({batch, 9, 126}, [&](int channel, std::ptrdiff_t) {
        return channel < 4 ? uniform(5, 60) : uniform(0, 1) < density ? uniform(0, 1) : 0.001f;
      });
    } else {
      add({batch, 300, 6}, [&](int, std::ptrdiff_t k) {
        return k < 4 ? uniform(0, 90) : k == 4 ? uniform(0, 1) : std::floor(uniform(0, 4.99f));
      });
    }
    for (std::size_t k = 0; k < outputs.size(); ++k) {
      outputs[k].data = type == Type::f32 ? static_cast<void*>(values[k].data()) : halves[k].data();
    }
  }
};

/// A model whose tensors are in memory of the GPU, behind a pipeline.
struct Gpu {
  std::shared_ptr<const CudaDevice> device = std::make_shared<const CudaDevice>(0);
  std::shared_ptr<const CudaKernels> kernels = CudaKernels::load(device);
  CUstream stream = nullptr;
  CudaBuffer input{device, CudaBuffer::Place::device};
  std::vector<CudaBuffer> buffers;
  std::optional<CudaPipeline> pipeline;
  Model& model;
  Tensor to;
  std::vector<Tensor> outputs;
  int queued = 0;  ///< how often the network was

  explicit Gpu(Model& of) : model(of) {
    const Cuda& cuda = Cuda::get();
    cuda.check(cuda.stream_create(&stream, CU_STREAM_NON_BLOCKING), "creating a stream");
    pipeline.emplace(device, kernels, stream);
    const auto plane = static_cast<std::ptrdiff_t>(model.height) * model.width;
    input.reserve(static_cast<std::size_t>(model.batch * 3 * plane) * 4);
    to = {input.data(), {model.batch, 3, model.height, model.width}, plane, model.type};
    for (const Tensor& output : model.outputs) {
      buffers.emplace_back(device, CudaBuffer::Place::device);
      buffers.back().reserve(bytes(output));
      outputs.push_back({buffers.back().data(), output.shape, output.channel_stride, output.type});
    }
  }
  ~Gpu() {
    pipeline.reset();
    Cuda::get().stream_destroy(stream);
  }
  static std::size_t bytes(const Tensor& tensor) {
    return static_cast<std::size_t>(tensor.shape[0] * tensor.batch_stride()) * (tensor.type == Type::f32 ? 4 : 2);
  }
  void network() {
    ++queued;
    for (std::size_t k = 0; k < outputs.size(); ++k) {
      Cuda::get().to_device(reinterpret_cast<CUdeviceptr>(outputs[k].data), model.outputs[k].data,
                            bytes(model.outputs[k]), stream);
    }
  }
  std::vector<Detections> detect(const std::vector<Image>& images, const Thresholds& thresholds, double scale = 1,
                                 bool mirrored = false) {
    std::vector<Geometry> geometries;
    for (const Image& image : images) {
      geometries.push_back(Geometry::fit(image.width, image.height, model.width, model.height, scale, mirrored));
    }
    const Batch batch{images, geometries, model.height, model.width, model.layout, thresholds};
    std::vector<Detections> out;
    Speed speed;
    CHECK(CudaPipeline::takes(batch, outputs));
    pipeline->detect(batch, to, outputs, [this] { network(); }, out, speed);
    return out;
  }
};

std::vector<Detections> on_cpu(const Model& model, const std::vector<Image>& images, const Thresholds& thresholds,
                               double scale = 1, bool mirrored = false) {
  std::vector<Detections> out;
  Decoder decoder;
  for (std::size_t i = 0; i < images.size(); ++i) {
    const Geometry geometry =
        Geometry::fit(images[i].width, images[i].height, model.width, model.height, scale, mirrored);
    out.push_back(decoder(model.layout, model.outputs, static_cast<int>(i), geometry, thresholds));
  }
  return out;
}

bool same(const std::vector<Detections>& a, const std::vector<Detections>& b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (a[i].classes != b[i].classes) return false;
    for (std::size_t k = 0; k < a[i].size(); ++k) {
      const Box &x = a[i].boxes[k], &y = b[i].boxes[k];
      if (std::fabs(a[i].scores[k] - b[i].scores[k]) > 1e-6 || std::fabs(x.x1 - y.x1) > 1e-3 ||
          std::fabs(x.y1 - y.y1) > 1e-3 || std::fabs(x.x2 - y.x2) > 1e-3 || std::fabs(x.y2 - y.y2) > 1e-3) {
        return false;
      }
    }
  }
  return true;
}

std::vector<std::uint8_t> noise(std::size_t bytes) {
  std::vector<std::uint8_t> out(bytes);
  for (auto& byte : out) byte = static_cast<std::uint8_t>(random_bits());
  return out;
}

void test_letterbox() {
  struct Case {
    int width, height;
    PixelFormat format;
    std::ptrdiff_t extra;  ///< bytes behind a row
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
          Thresholds all;
          all.conf = 0;
          all.max_det = 2000;
          for (const Thresholds& thresholds : {Thresholds(), loose, few, every, some, all}) {
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
  for (const auto& [width, height] : sizes) {  // the graph serves every size and setting
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
  CHECK(fake().graph_launches == 4 && second.queued == 5);  // that of the capture was not run
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
    model.values.back().back() = head == Head::end2end ? 7.0f : NAN;  // of the second image
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
  CHECK_THROWS(gpu.detect({device}, {}), std::invalid_argument, "it is on cuda:1, and the Detector on cuda:0");
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
