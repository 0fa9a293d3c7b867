// Images in batches: letterbox, network, decoding.
#include <algorithm>
#include <cstdint>
#include <iterator>
#include <optional>
#include <utility>

#include "core/detector.h"
#include "ops/half.h"
#include "platform/nvtx.h"

namespace yolort {
namespace {

Array to_array(const Tensor& tensor) {
  Array out{tensor.shape, {}};
  std::size_t cells = 1;
  for (std::size_t d = 2; d < tensor.shape.size(); ++d) cells *= static_cast<std::size_t>(tensor.shape[d]);
  for (std::ptrdiff_t channel = 0; channel < tensor.shape[0] * tensor.shape[1]; ++channel) {
    const std::ptrdiff_t at = channel * tensor.channel_stride;
    if (tensor.type == Type::f32) {
      const float* from = static_cast<const float*>(tensor.data) + at;
      out.values.insert(out.values.end(), from, from + cells);
    } else {
      const std::uint16_t* from = static_cast<const std::uint16_t*>(tensor.data) + at;
      std::transform(from, from + cells, std::back_inserter(out.values), half_to_float);
    }
  }
  return out;
}

}  // namespace

void Detector::Impl::check_outputs(const std::vector<Tensor>& outputs, int batch) const {
  bool same = outputs.size() == output_shapes.size();
  for (std::size_t i = 0; same && i < outputs.size(); ++i) {
    const std::vector<int>&shape = outputs[i].shape, &expected = output_shapes[i];
    const bool any_rows = spec.layout.head == Head::indexed;  // rows are in one list for the whole batch
    same = shape.size() == expected.size() && (shape[0] == batch || any_rows) &&
           std::equal(shape.begin() + 1, shape.end(), expected.begin() + 1);
  }
  if (!same) {
    throw EngineError("engine \"" + engine_name +
                      "\": the outputs' shapes changed from one run to the next, or lack a "
                      "row for each of the " +
                      std::to_string(batch) + " images");
  }
}

/// Runs images that all have the size of `spec`.
void Detector::Impl::run_batch(const std::vector<Job>& jobs, const Thresholds& settings, std::vector<Detections>& out) {
  std::vector<Image> images;
  std::vector<Geometry> geometries;
  for (const Job& job : jobs) {
    images.push_back(*job.image);
    geometries.push_back(job.geometry);
  }
  const int count = static_cast<int>(jobs.size());
  const InputFormat& format = spec.input;
  const bool is_rgb = format.channels == 3 && !format.bgr && format.mean.empty() && format.stddev.empty();
  if (engine->detect({images, geometries, spec.height, spec.width, spec.layout, settings, is_rgb}, out, speed)) return;
  for (const Image& image : images) {
    if (image.memory == Memory::host) continue;
    throw std::invalid_argument("image: its pixels are in CUDA memory, which engine \"" + engine_name + "\" on " +
                                device + " does not read; copy them to the host first");
  }
  const auto start = std::chrono::steady_clock::now();
  const int fixed = engine->input_shape().batch;
  const Tensor input = engine->input(fixed ? fixed : count, spec.height, spec.width);
  if (input.data != padded_buffer || input.shape != padded_shape) {
    padded_buffer = input.data;
    padded_shape = input.shape;
    padded.clear();
  }
  padded.resize(static_cast<std::size_t>(input.shape[0]));
  std::optional<NvtxRange> range("pre");
  for (int i = 0; i < count; ++i) {
    const auto slot = static_cast<std::size_t>(i);
    letterbox(images[slot], geometries[slot], input, i, padded[slot] == geometries[slot], format);
    padded[slot] = geometries[slot];
  }
  const auto ready = std::chrono::steady_clock::now();
  range.emplace("inference");
  const std::vector<Tensor>& outputs = engine->run();
  check_outputs(outputs, input.shape[0]);
  const auto finished = std::chrono::steady_clock::now();
  range.emplace("post");
  for (int i = 0; i < count; ++i) {
    out.push_back(decoder(spec.layout, outputs, i, geometries[static_cast<std::size_t>(i)], settings));
  }
  speed.pre += milliseconds(ready - start);
  speed.inference += milliseconds(finished - ready);
  speed.post += milliseconds(std::chrono::steady_clock::now() - finished);
}

/// Calls the hook between two runs. `lock` (of the called Detector) is released during the hook, so the hook may use
/// that Detector.
void Detector::Impl::pause(std::unique_lock<std::mutex>& lock) {
  if (!between_runs) return;
  const Speed so_far = speed;
  lock.unlock();
  between_runs();
  lock.lock();
  speed = so_far;
}

/// One result per job, in order. Jobs of the same size run together.
std::vector<Detections> Detector::Impl::run(const std::vector<Job>& jobs, const Thresholds& settings,
                                            std::unique_lock<std::mutex>& lock) {
  speed = {};
  std::map<Size, std::vector<std::size_t>> of_size;
  for (std::size_t i = 0; i < jobs.size(); ++i) {
    of_size[{jobs[i].geometry.height, jobs[i].geometry.width}].push_back(i);
  }
  std::vector<Detections> out(jobs.size());
  const auto batch = static_cast<std::size_t>(batch_size());
  std::size_t done = 0;
  for (const auto& [size, members] : of_size) {
    for (std::size_t first = 0; first < members.size(); first += batch) {
      if (done) pause(lock);
      Impl& runner = at(size);  // looked up again: another call may have replaced it during the pause
      std::vector<Job> together;
      for (std::size_t i = first; i < std::min(first + batch, members.size()); ++i)
        together.push_back(jobs[members[i]]);
      std::vector<Detections> found;
      if (&runner != this) runner.speed = {};
      runner.run_batch(together, settings, found);
      if (&runner != this) add(speed, runner.speed);
      for (std::size_t i = 0; i < found.size(); ++i) out[members[first + i]] = std::move(found[i]);
      done += found.size();
    }
  }
  return out;
}

std::vector<Array> Detector::infer(const float* input, int batch) {
  Impl& impl = *impl_;
  std::lock_guard lock(impl.mutex);
  const InputShape shape = impl.engine->input_shape();
  const int max_batch = impl.batch_size();
  if (batch < 1 || (shape.batch ? batch != shape.batch : batch > max_batch)) {
    throw std::invalid_argument("infer: the batch is " + std::to_string(batch) + ", expected " +
                                (shape.batch ? std::to_string(shape.batch) : "1 to " + std::to_string(max_batch)));
  }
  const Tensor to = impl.engine->input(batch, impl.spec.height, impl.spec.width);
  impl.padded_buffer = nullptr;  // the padding is overwritten
  const std::size_t plane = static_cast<std::size_t>(impl.spec.height) * static_cast<std::size_t>(impl.spec.width);
  for (int i = 0; i < batch; ++i) {
    for (int c = 0; c < to.shape[1]; ++c) {
      const std::ptrdiff_t at = i * to.batch_stride() + c * to.channel_stride;
      if (to.type == Type::f32) {
        std::copy_n(input, plane, static_cast<float*>(to.data) + at);
      } else {
        std::transform(input, input + plane, static_cast<std::uint16_t*>(to.data) + at, float_to_half);
      }
      input += plane;
    }
  }
  const std::vector<Tensor>& outputs = impl.engine->run();
  impl.check_outputs(outputs, batch);
  std::vector<Array> out;
  for (const Tensor& from : outputs) out.push_back(to_array(from));
  return out;
}

}  // namespace yolort
