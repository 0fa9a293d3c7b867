// Test-time augmentation: opens what the views run on, and runs them.
#include <algorithm>
#include <array>
#include <map>
#include <utility>

#include "core/detector.h"
#include "core/view_merge.h"

namespace yolort {

Artefact Detector::Impl::artefact() const {
  const InputShape fixed = engine->input_shape();
  const std::vector<int>& strides = spec.layout.strides;
  Artefact out{spec.given, spec.height, spec.width, fixed.height || fixed.width};
  if (!strides.empty()) out.stride = *std::max_element(strides.begin(), strides.end());
  return out;
}

/// On the same weights, at the input size of a view.
std::unique_ptr<Detector::Impl> Detector::Impl::clone_for(const View& view) const {
  std::unique_ptr<Impl> out = clone();
  out->spec.height = view.imgsz[0];
  out->spec.width = view.imgsz[1];
  try {
    out->probe();
  } catch (const Error& what) {
    throw EngineError("scales: model \"" + view.model + "\" cannot run at " + std::to_string(view.imgsz[0]) + " x " +
                      std::to_string(view.imgsz[1]) + " for the scale " + std::to_string(view.scale) + ": " +
                      what.what());
  }
  return out;
}

/// Opens what the views run on, and runs each once: a size that the network cannot take fails here.
void Detector::Impl::prepare_views(const Options& options) {
  if (!options.augment && options.scales.empty() && options.scale_models.empty()) return;
  merge = options.merge;
  std::vector<std::unique_ptr<Impl>> others;
  std::vector<Artefact> artefacts = {artefact()};
  for (const std::string& model : options.scale_models) {
    Options own = options;
    own.imgsz.reset();
    others.push_back(std::make_unique<Impl>());
    others.back()->load(model, own);
    if (others.back()->spec.names != spec.names) {
      throw ModelError("scale_models: model \"" + model + "\" has other classes than \"" + spec.given + "\"");
    }
    artefacts.push_back(others.back()->artefact());
  }
  const std::vector<PlacedView> placed = plan_views(options.scales, options.flip, artefacts);
  std::vector<std::unique_ptr<Impl>> made;
  std::vector<Look> planned;
  std::map<std::pair<std::size_t, std::array<int, 2>>, std::size_t> runner_of;  // by artefact and input size
  runner_of[{0, {spec.height, spec.width}}] = 0;
  for (const PlacedView& view : placed) {
    const auto [at, is_new] = runner_of.try_emplace({view.artefact, view.imgsz}, made.size() + 1);
    if (is_new) made.push_back((view.artefact ? *others[view.artefact - 1] : *this).clone_for(view));
    planned.push_back({at->second, view.fraction, view.flip});
  }
  views.assign(placed.begin(), placed.end());
  looks = std::move(planned);
  runners = std::move(made);
}

/// One result an image: all views of a network input run together, as far as the engine takes batches.
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
        jobs.push_back({&images[image], look.fraction, look.flip});
        image_of.push_back(image);
      }
    }
    std::vector<Detections> of_jobs = runner.run(jobs, each, lock);
    for (std::size_t job = 0; job < jobs.size(); ++job) found[image_of[job]].push_back(std::move(of_jobs[job]));
    total.pre += runner.speed.pre;
    total.inference += runner.speed.inference;
    total.post += runner.speed.post;
  }
  const auto start = std::chrono::steady_clock::now();
  std::vector<Detections> out;
  for (const std::vector<Detections>& one : found) out.push_back(merge_views(one, merge, settings, spec.layout.nms));
  total.post += milliseconds(std::chrono::steady_clock::now() - start);
  speed = total;
  return out;
}

}  // namespace yolort
