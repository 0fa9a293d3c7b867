// The implementation of Detector: core/detector.cpp loads, core/inference.cpp runs, core/sizes.cpp chooses the size,
// core/input_format.cpp the channels, and core/views.cpp runs several views.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <filesystem>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "core/engine.h"
#include "core/engine_choice.h"
#include "core/view_plan.h"
#include "model/model.h"
#include "ops/decode.h"
#include "ops/letterbox.h"
#include "yolort/yolort.h"

namespace yolort {

inline double milliseconds(std::chrono::steady_clock::duration time) {
  return std::chrono::duration<double, std::milli>(time).count();
}

inline void add(Speed& total, const Speed& speed) {
  total.pre += speed.pre;
  total.inference += speed.inference;
  total.post += speed.post;
}

/// An image and its placement in the network input.
struct Job {
  const Image* image;
  Geometry geometry;
};

/// Height and width of a network input.
using Size = std::array<int, 2>;

struct __attribute__((visibility("hidden"))) Detector::Impl {
  // The model: the same for every clone.
  ModelSpec spec;
  Thresholds thresholds;
  std::function<void()> between_runs;
  std::string engine_name, device, precision;
  std::string head;                       ///< the model's own, even if the graph is cut before it
  std::string engine_why, precision_why;  ///< clauses for the user
  EngineFailures failures;
  bool classifies = false;  ///< whether it belongs to a Classifier
  bool tuned = false;
  int threads = available_cores();
  bool rect = false;  ///< images are padded only to the stride; spec.height and spec.width bound the input

  // The running engine. Each clone has its own. Guarded by the mutex.
  std::unique_ptr<Engine> engine;
  Letterbox letterbox;
  Decoder decoder;
  Speed speed;
  std::mutex mutex;

  /// Shapes of the outputs without the batch. They are found at load and checked after every run, so that decoding can
  /// trust them.
  std::vector<std::vector<int>> output_shapes;

  /// With `rect`: the engines for other sizes, most recently used first. An engine keeps its bindings for one size.
  static constexpr std::size_t max_sizes = 8;
  std::list<std::unique_ptr<Impl>> sizes;
  /// `output_shapes` of every size that has run, so that each is probed only once.
  std::map<Size, std::vector<std::vector<int>>> probed;

  /// Per slot of the input buffer: the geometry of the padding that it currently holds.
  const void* padded_buffer = nullptr;
  std::vector<int> padded_shape;
  std::vector<Geometry> padded;

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
        engine_why(other.engine_why),
        precision_why(other.precision_why),
        failures(other.failures),
        classifies(other.classifies),
        tuned(other.tuned),
        threads(other.threads),
        rect(other.rect),
        decoder(kernels(), other.threads),
        output_shapes(other.output_shapes),
        probed(other.probed),
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
  void check_task();
  void open_first(const Options& options);
  void open(const EngineEntry& entry, const Options& options);
  std::filesystem::path take_tuning(Options& options);
  void take_keypoints(const Options& options);
  void ask_imgsz(const Options& options);
  void resolve_imgsz(const Options& options);
  void resolve_rect(const Options& options);
  void probe();
  void name_classes();
  /// A clone without views, with another input size. `what` names the setting that needs it, for the error.
  std::unique_ptr<Impl> clone_at(const Size& size, const std::string& what) const;
  Impl& at(const Size& size);
  Job place(const Image& image, double fraction = 1, bool flip = false) const;
  void find_counterparts(bool flip);
  void prepare_views(const Options& options);
  Artifact artifact() const;
  std::string explain() const;
  void check_outputs(const std::vector<Tensor>& outputs, int batch) const;
  /// Maximum number of images per run.
  int batch_size() const {
    const InputShape shape = engine->input_shape();
    if (shape.batch) return shape.batch;
    return spec.max_batch ? std::min(shape.max_batch, spec.max_batch) : shape.max_batch;
  }
  void run_batch(const std::vector<Job>& jobs, const Thresholds& settings, std::vector<Detections>& out);
  void pause(std::unique_lock<std::mutex>& lock);
  std::vector<Detections> run(const std::vector<Job>& jobs, const Thresholds& settings,
                              std::unique_lock<std::mutex>& lock);
  std::vector<Detections> run_views(const std::vector<Image>& images, const Thresholds& settings,
                                    std::unique_lock<std::mutex>& lock);
};

}  // namespace yolort
