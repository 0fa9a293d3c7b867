// Masks on a GPU: their kernels run once the host knows where the objects are.
#include <algorithm>
#include <cstring>

#include "cuda/memory.h"
#include "cuda/pipeline.h"
#include "ops/head_layout.h"
#include "ops/masks.h"

namespace yolort {
namespace {

/// The first sample along a side, and one past the last.
std::pair<int, int> range(const std::vector<std::int32_t>& first, int from, int count) {
  const auto [low, high] =
      std::minmax(first[static_cast<std::size_t>(from)], first[static_cast<std::size_t>(from + count - 1)]);
  return {low, high + 3};
}

/// The placement and size of the masks of an image; a mask without pixels has size 0.
struct Plan {
  std::vector<cuda::MaskSpan> spans;
  std::int64_t grids = 0, bits = 0;           ///< values, bytes
  std::int64_t max_cells = 0, max_bytes = 0;  ///< of one mask

  Plan(const std::vector<Mask>& masks, const MaskSamples& samples, int channels) {
    for (std::size_t i = 0; i < masks.size(); ++i) {
      const Mask& mask = masks[i];
      cuda::MaskSpan span{};
      const auto bytes = static_cast<std::int64_t>(bytes_of(mask));
      if (bytes > 0) {
        const auto [left, right] = range(samples.columns.first, mask.x, mask.width);
        const auto [top, bottom] = range(samples.rows.first, mask.y, mask.height);
        span = {mask.x,
                mask.y,
                mask.width,
                mask.height,
                top,
                left,
                bottom - top,
                right - left,
                grids,
                bits,
                static_cast<int>(i) * channels};
      }
      const std::int64_t cells = static_cast<std::int64_t>(span.rows) * span.columns;
      spans.push_back(span);
      grids += cells;
      bits += bytes;
      max_cells = std::max(max_cells, cells);
      max_bytes = std::max(max_bytes, bytes);
    }
  }
};

void write_samples(const Samples& samples, cuda::Sample* to) {
  for (std::size_t i = 0; i < samples.first.size(); ++i) {
    to[i] = {samples.first[i], {samples.weights[0][i], samples.weights[1][i], samples.weights[2][i]}};
  }
}

}  // namespace

/// Sets the masks of the detections in an image, and drops detections without a mask.
void CudaPipeline::add_masks(const Tensor& prototypes, const Geometry& geometry, std::size_t image, Detections& found) {
  for (const Box& box : found.boxes) found.masks.push_back(pixels_of(box));
  check_mask_memory(found.masks);
  const MaskSamples samples = mask_samples(geometry, prototypes.shape[2], prototypes.shape[3]);
  const Plan plan(found.masks, samples, prototypes.shape[1]);
  if (plan.bits == 0) return drop_empty(found);

  const std::size_t columns = aligned(plan.spans.size() * sizeof(cuda::MaskSpan));
  const std::size_t rows = columns + aligned(samples.columns.first.size() * sizeof(cuda::Sample));
  const std::size_t bytes = rows + aligned(samples.rows.first.size() * sizeof(cuda::Sample));
  spans_.reserve(bytes);
  device_spans_.reserve(bytes);
  grids_.reserve(static_cast<std::size_t>(plan.grids) * sizeof(float));
  bits_.reserve(static_cast<std::size_t>(plan.bits));
  std::copy(plan.spans.begin(), plan.spans.end(), at<cuda::MaskSpan>(spans_, 0));
  write_samples(samples.columns, at<cuda::Sample>(spans_, columns));
  write_samples(samples.rows, at<cuda::Sample>(spans_, rows));

  cuda::MaskParams& masks = params()->masks;
  const std::size_t first = image * static_cast<std::size_t>(params()->max_det * params()->extra);
  int* for_cpu = masks.for_cpu;
  *for_cpu = 0;
  masks = {map_of(prototypes),
           static_cast<int>(image),
           prototypes.shape[2],
           prototypes.shape[3],
           static_cast<int>(plan.spans.size()),
           at<cuda::MaskSpan>(device_spans_, 0),
           at<cuda::Sample>(device_spans_, columns),
           at<cuda::Sample>(device_spans_, rows),
           params()->values + first,
           at<float>(grids_, 0),
           at<std::uint8_t>(bits_, 0),
           for_cpu};
  const Cuda& cuda = Cuda::get();
  cuda.check(cuda.to_device(device_spans_.address(), spans_.data(), bytes, stream_), "copying the boxes of masks");
  cuda.check(cuda.to_device(device_params_.address(), params_.data(), params_bytes_, stream_), "copying the settings");
  const auto count = static_cast<unsigned>(plan.spans.size());
  launch(kernels_->mask_grid, {blocks(plan.max_cells, 128), count, 1}, {128, 1, 1});
  launch(kernels_->mask_bits, {blocks(plan.max_bytes, 128), count, 1}, {128, 1, 1});
  const std::shared_ptr<std::uint8_t> all = make_bits(static_cast<std::size_t>(plan.bits));
  cuda.check(cuda.to_host(all.get(), bits_.address(), static_cast<std::size_t>(plan.bits), stream_), "copying masks");
  cuda.check(cuda.stream_synchronize(stream_), "computing masks");
  if (*for_cpu) throw not_finite();
  for (std::size_t i = 0; i < found.masks.size(); ++i) {
    found.masks[i].bits = std::shared_ptr<const std::uint8_t>(all, all.get() + plan.spans[i].bits);
  }
  drop_empty(found);
}

}  // namespace yolort
