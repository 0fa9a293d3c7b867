// The implementation of Detector: core/detector.cpp loads, core/inference.cpp runs, core/views.cpp runs several views.
#pragma once

#include <chrono>
#include <cstddef>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "core/engine.h"
#include "core/view_plan.h"
#include "model/model.h"
#include "ops/decode.h"
#include "ops/letterbox.h"
#include "yolort/yolort.h"

namespace yolort {

inline double milliseconds(std::chrono::steady_clock::duration time) {
  return std::chrono::duration<double, std::milli>(time).count();
}

/// An image and how it lies in the network input; see Geometry::fit.
struct Job {
  const Image* image;
  double fraction = 1;
  bool flip = false;
};

struct __attribute__((visibility("hidden"))) Detector::Impl {
  // The model: the same for every clone.
  ModelSpec spec;
  Thresholds thresholds;
  std::function<void()> between_runs;
  std::string engine_name, device, precision, head;
  bool tuned = false;

  // What runs: each clone has its own; guarded by the mutex.
  std::unique_ptr<Engine> engine;
  Letterbox letterbox;
  Decoder decoder;
  Speed speed;
  std::mutex mutex;

  /// Shapes of the outputs without the batch. They are found at load and checked after every run, so that decoding can
  /// trust them.
  std::vector<std::vector<int>> output_shapes;

  /// The geometry whose padding each slot of the input buffer holds.
  const void* padded_buffer = nullptr;
  std::vector<int> padded_shape;
  std::vector<Geometry> padded;
  std::vector<Geometry> geometries;

  // Test-time augmentation. Per view: the runner (0: this Detector, i: runners[i - 1]) and the placement of the image.
  struct Look {
    std::size_t runner;
    double fraction;
    bool flip;
  };
  Merge merge = Merge::wbf;
  std::vector<View> views;
  std::vector<Look> looks;
  std::vector<std::unique_ptr<Impl>> runners;  ///< other input sizes and artifacts

  Impl() = default;
  Impl(const Impl& other)
      : spec(other.spec),
        thresholds(other.thresholds),
        between_runs(other.between_runs),
        engine_name(other.engine_name),
        device(other.device),
        precision(other.precision),
        head(other.head),
        tuned(other.tuned),
        output_shapes(other.output_shapes),
        merge(other.merge),
        views(other.views),
        looks(other.looks) {}

  /// Shares the weights; has its own buffers.
  std::unique_ptr<Impl> clone() const {
    auto copy = std::make_unique<Impl>(*this);
    copy->engine = engine->clone();
    for (const auto& runner : runners) copy->runners.push_back(runner->clone());
    return copy;
  }

  void load(const std::string& model, const Options& options);
  void load(const ModelBytes& model, const Options& options);
  void load(ModelSpec model, Options options);
  std::filesystem::path take_tuning(Options& options);
  void ask_imgsz(const Options& options);
  void resolve_imgsz(const Options& options);
  void probe();
  std::unique_ptr<Impl> clone_for(const View& view) const;
  void find_counterparts(bool flip);
  void prepare_views(const Options& options);
  Artifact artifact() const;
  void check_outputs(const std::vector<Tensor>& outputs, int batch) const;
  /// Maximum number of images per run.
  int batch_size() const {
    const InputShape shape = engine->input_shape();
    if (shape.batch) return shape.batch;
    return spec.max_batch ? std::min(shape.max_batch, spec.max_batch) : shape.max_batch;
  }
  void run_batch(const Job* jobs, int count, const Thresholds& settings, std::vector<Detections>& out);
  void pause(std::unique_lock<std::mutex>& lock);
  std::vector<Detections> run(const std::vector<Job>& jobs, const Thresholds& settings,
                              std::unique_lock<std::mutex>& lock);
  std::vector<Detections> run_views(const std::vector<Image>& images, const Thresholds& settings,
                                    std::unique_lock<std::mutex>& lock);
};

}  // namespace yolort
