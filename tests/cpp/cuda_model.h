// Models with random outputs, on the CPU and behind a CudaPipeline on the driver of fake_cuda.cpp.
#pragma once

#include <dlfcn.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <random>
#include <vector>

#include "check.h"
#include "cuda/pipeline.h"
#include "fake_cuda.h"
#include "ops/half.h"
#include "ops/masks.h"

using namespace yolort;

inline FakeCuda& fake() {
  static auto* state = reinterpret_cast<FakeCudaState*>(dlsym(dlopen("libcuda.so.1", RTLD_NOW), "fake_cuda"))();
  return *state;
}

inline std::mt19937 random_bits(7);

inline float uniform(float least, float most) {
  return std::uniform_real_distribution<float>(least, most)(random_bits);
}

/// A model with any kind of head and random outputs that do not depend on the image.
struct Model {
  HeadLayout layout;
  int batch, height, width;
  std::vector<std::vector<float>> values;
  std::vector<std::vector<std::uint16_t>> halves;
  std::vector<Tensor> outputs;  ///< of the host
  Type type;

  Model(Head head, int reg_max, bool nms, int images, Type type, int height = 64, int width = 96,
        Task task = Task::detect)
      : batch(images), height(height), width(width), type(type) {
    constexpr float density = 0.1f;  // share of cells with an object
    layout.head = head;
    layout.task = task;
    if (task == Task::pose) layout.kpt_shape = {4, 3};
    layout.extra = task == Task::obb ? 1 : task == Task::pose ? 12 : task == Task::segment ? 6 : 0;
    layout.flip_idx = task == Task::pose ? std::vector<int>{1, 0, 2, 3} : std::vector<int>();
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
        if (layout.extra) {
          add({batch, layout.extra, height / stride, width / stride},
              [&](int, std::ptrdiff_t) { return uniform(-2, 2); });
        }
      }
    } else if (head == Head::boxes) {
      add({batch, 9 + layout.extra, 126}, [&](int channel, std::ptrdiff_t) {
        if (channel >= 9) return uniform(-2, 2);
        return channel < 4 ? uniform(5, 60) : uniform(0, 1) < density ? uniform(0, 1) : 0.001f;
      });
    } else {
      add({batch, 300, 6 + layout.extra}, [&](int, std::ptrdiff_t k) {
        if (k > 5) return uniform(-2, 2);
        return k < 4 ? uniform(0, 90) : k == 4 ? uniform(0, 1) : std::floor(uniform(0, 4.99f));
      });
    }
    if (task == Task::segment) {
      add({batch, layout.extra, height / 4, width / 4}, [&](int, std::ptrdiff_t) { return uniform(-2, 2); });
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
  int queued = 0;  ///< number of network runs

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

inline std::vector<Detections> on_cpu(const Model& model, const std::vector<Image>& images,
                                      const Thresholds& thresholds, double scale = 1, bool mirrored = false) {
  std::vector<Detections> out;
  Decoder decoder;
  for (std::size_t i = 0; i < images.size(); ++i) {
    const Geometry geometry =
        Geometry::fit(images[i].width, images[i].height, model.width, model.height, scale, mirrored);
    out.push_back(decoder(model.layout, model.outputs, static_cast<int>(i), geometry, thresholds));
  }
  return out;
}

inline bool near(float a, float b) { return std::fabs(a - b) < 1e-3; }

/// Compares the tasks' additional values. Box edges of masks may round to another pixel.
inline bool same_extra(const Detections& a, const Detections& b) {
  if (a.keypoints.size() != b.keypoints.size() || a.rotated.size() != b.rotated.size() ||
      a.masks.size() != b.masks.size() || a.kpt_shape != b.kpt_shape) {
    return false;
  }
  bool out = std::equal(a.keypoints.begin(), a.keypoints.end(), b.keypoints.begin(), near);
  for (std::size_t i = 0; i < a.rotated.size(); ++i) {
    const RotatedBox &x = a.rotated[i], &y = b.rotated[i];
    out = out && near(x.cx, y.cx) && near(x.cy, y.cy) && near(x.width, y.width) && near(x.height, y.height) &&
          near(x.angle, y.angle);
  }
  for (std::size_t i = 0; i < a.masks.size(); ++i) {
    const Mask &x = a.masks[i], &y = b.masks[i];
    const bool placed = x.x == y.x && x.y == y.y && x.width == y.width && x.height == y.height;
    out = out && placed && std::equal(x.bits.get(), x.bits.get() + bytes_of(x), y.bits.get());
  }
  return out;
}

inline bool same(const std::vector<Detections>& a, const std::vector<Detections>& b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (a[i].classes != b[i].classes || !same_extra(a[i], b[i])) return false;
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

inline std::vector<std::uint8_t> noise(std::size_t bytes) {
  std::vector<std::uint8_t> out(bytes);
  for (auto& byte : out) byte = static_cast<std::uint8_t>(random_bits());
  return out;
}
