// An engine for tests, and a model for it.
#pragma once

#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>

#include "core/engine.h"

namespace yolort {

/// Common parts of engines without a network: an input, and output rows.
class BufferEngine : public Engine {
 public:
  Tensor input(int n, int height, int width) override {
    const std::vector<int> shape = {n, 3, height, width};
    if (shape != shape_) {
      shape_ = shape;
      data_.assign(static_cast<std::size_t>(n * 3 * height * width), 0);
    }
    return {data_.data(), shape_, static_cast<std::ptrdiff_t>(height) * width, Type::f32};
  }
  std::string device() const override { return "fake device"; }
  std::string precision() const override { return "fp32"; }

 protected:
  std::vector<int> shape_;
  std::vector<float> data_, rows_;
  std::vector<Tensor> outputs_;
};

/// Finds one object of class 1 in the middle of the input; its score is the mean of the image's first pixel.
class FakeEngine final : public BufferEngine {
 public:
  static inline int batch = 0;  ///< of input_shape()
  static inline std::atomic<int> runs{0};
  static inline int rows_missing = 0;  ///< number of missing output rows
  static inline int extra_classes = 0;
  static inline std::string why_not;  ///< reason why it cannot run here; empty: it can

  InputShape input_shape() const override { return {batch, 0, 0}; }
  const std::vector<Tensor>& run() override {
    ++runs;
    const int n = shape_[0] - rows_missing, channels = 6 + extra_classes;
    rows_.assign(static_cast<std::size_t>(shape_[0] * channels * 4), 0);
    for (int i = 0; i < shape_[0]; ++i) {
      float* row = &rows_[static_cast<std::size_t>(i * channels * 4)];
      const float* image = &data_[static_cast<std::size_t>(i * 3 * shape_[2] * shape_[3])];
      row[0] = 16, row[4] = 16, row[8] = 8, row[12] = 8;  // cx cy w h of anchor 0
      row[20] = image[0];                                 // class 1
    }
    outputs_ = {{rows_.data(), {n, channels, 4}, 4, Type::f32}};
    return outputs_;
  }
  std::unique_ptr<Engine> clone() const override { return std::make_unique<FakeEngine>(); }
};

/// A temporary ONNX file without metadata, for which the fake engine is preferred.
struct FakeModel {
  const std::string path;

  explicit FakeModel(const std::string& test)
      : path((std::filesystem::temp_directory_path() / ("yolort_test_" + test + std::to_string(getpid()) + ".onnx"))
                 .string()) {
    std::ofstream(path, std::ios::binary) << std::string("\x3A\x01g", 3);  // a ModelProto with a graph and no more
    EngineEntry entry;
    entry.name = "fake";
    entry.priority = 1000;
    entry.unavailable = [] { return FakeEngine::why_not; };
    entry.accepts = [](const ModelSpec& spec) { return spec.format == Format::onnx; };
    entry.load = [](const ModelSpec&, const Options&) { return std::make_unique<FakeEngine>(); };
    entry.reads_memory = true;
    register_engine(entry);
  }
  ~FakeModel() { std::filesystem::remove(path); }
  FakeModel(const FakeModel&) = delete;
  FakeModel& operator=(const FakeModel&) = delete;
};

}  // namespace yolort
