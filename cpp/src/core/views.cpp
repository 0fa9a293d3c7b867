// Test-time augmentation: opens the artifacts of the views, and runs the views.
#include <algorithm>
#include <array>
#include <map>
#include <utility>

#include "core/detector.h"
#include "core/view_merge.h"
#include "ops/keypoints.h"

namespace yolort {

Artifact Detector::Impl::artifact() const {
  const InputShape fixed = engine->input_shape();
  return {spec.path, spec.height, spec.width, fixed.height || fixed.width, spec.stride};
}

/// Indices that swap left and right keypoints in mirrored views; empty if unknown.
void Detector::Impl::find_counterparts(bool flip) {
  if (spec.layout.task != Task::pose || !flip) return;
  spec.layout.flip_idx = counterparts(spec.layout, spec.names);
  if (!spec.layout.flip_idx.empty()) return;
  throw std::invalid_argument(
      "flip: model \"" + spec.path +
      "\" does not record which keypoints are mirror images of each other (no 'flip_idx' in its "
      "metadata); pass flip_idx, or set flip to false");
}

/// Opens the artifacts of the views and runs each once, so that an unsupported size fails here.
void Detector::Impl::prepare_views(const Options& options) {
  if (!options.augment && options.scales.empty() && options.scale_models.empty()) return;
  merge = options.merge;
  find_counterparts(options.flip);
  std::vector<std::unique_ptr<Impl>> others;
  std::vector<Artifact> artifacts = {artifact()};
  for (const std::string& model : options.scale_models) {
    Options own = options;
    own.imgsz.reset();
    if (own.rect == true) own.rect.reset();  // the setting applies to the model itself
    others.push_back(std::make_unique<Impl>());
    others.back()->load(model, own);
    const ModelSpec& other = others.back()->spec;
    const bool same_task = other.layout.task == spec.layout.task && other.layout.kpt_shape == spec.layout.kpt_shape;
    if (!same_task || other.names != spec.names) {
      throw ModelError("scale_models: model \"" + model + "\" has " + (same_task ? "other classes" : "another task") +
                       " than \"" + spec.path + "\"");
    }
    others.back()->find_counterparts(options.flip);
    artifacts.push_back(others.back()->artifact());
  }
  const std::vector<PlacedView> placed = plan_views(options.scales, options.flip, artifacts);
  std::vector<std::unique_ptr<Impl>> opened;
  std::vector<Look> planned;
  std::map<std::pair<std::size_t, std::array<int, 2>>, std::size_t> runner_of;  // by artifact and input size
  runner_of[{0, {spec.height, spec.width}}] = 0;
  for (const PlacedView& view : placed) {
    const auto [at, is_new] = runner_of.try_emplace({view.artifact, view.imgsz}, opened.size() + 1);
    if (is_new) {
      const Impl& runner = view.artifact ? *others[view.artifact - 1] : *this;
      opened.push_back(runner.clone_at(view.imgsz, "for the scale " + std::to_string(view.scale)));
    }
    planned.push_back({at->second, view.fraction, view.flip});
  }
  views.assign(placed.begin(), placed.end());
  looks = std::move(planned);
  runners = std::move(opened);
}

/// One result per image. All views with the same network input run together, in batches if the engine takes them.
std::vector<Detections> Detector::Impl::run_views(const std::vector<Image>& images, const Thresholds& settings,
                                                  std::unique_lock<std::mutex>& lock) {
  const Thresholds each = view_thresholds(settings, merge, looks.size());
  std::vector<std::vector<Detections>> found(images.size());
  Speed total;
  for (std::size_t i = 0; i <= runners.size(); ++i) {
    Impl& runner = i ? *runners[i - 1] : *this;
    if (i) pause(lock);
    std::vector<Job> jobs;
    std::vector<std::size_t> image_of;
    for (std::size_t image = 0; image < images.size(); ++image) {
      for (const Look& look : looks) {
        if (look.runner != i) continue;
        jobs.push_back(runner.place(images[image], look.fraction, look.flip));
        image_of.push_back(image);
      }
    }
    std::vector<Detections> of_jobs = runner.run(jobs, each, lock);
    for (std::size_t job = 0; job < jobs.size(); ++job) found[image_of[job]].push_back(std::move(of_jobs[job]));
    add(total, runner.speed);
  }
  const auto start = std::chrono::steady_clock::now();
  std::vector<Detections> out;
  for (const std::vector<Detections>& of_image : found)
    out.push_back(merge_views(of_image, merge, settings, spec.layout));
  total.post += milliseconds(std::chrono::steady_clock::now() - start);
  speed = total;
  return out;
}

}  // namespace yolort
