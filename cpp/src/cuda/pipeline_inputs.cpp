// The GPU inputs of a batch: the LaunchParams and the pixels.
#include <algorithm>
#include <cstring>
#include <iterator>
#include <string>
#include <utility>

#include "cuda/memory.h"
#include "cuda/pipeline.h"
#include "ops/letterbox.h"

namespace yolort {
namespace {

/// Rows are copied to pinned memory in bands of about this size, so that the GPU fetches one while the next is copied.
constexpr std::size_t band_bytes = 512 << 10;

/// Number of rows of a host image that are uploaded.
int rows_sent(const cuda::Source& source) { return source.row_pairs ? 2 * source.new_height : source.height; }

/// How the outputs are read.
void fill_head(cuda::LaunchParams& params, const HeadLayout& layout, const Thresholds& thresholds,
               const std::vector<Tensor>& outputs) {
  switch (layout.head) {
    case Head::raw: params.head = cuda::HeadKind::raw; break;
    case Head::boxes: params.head = cuda::HeadKind::boxes; break;
    default: params.head = cuda::HeadKind::end2end; break;
  }
  if (layout.head == Head::raw) {
    const auto maps = static_cast<std::size_t>(layout.maps());
    for (std::size_t level = 0; level < layout.strides.size(); ++level) {
      const Tensor* own = &outputs[maps * level];
      for (std::size_t part = 0; part < 2; ++part) params.maps[2 * level + part] = map_of(own[part]);
      if (maps == 3) params.extra_maps[level] = map_of(own[2]);
      params.columns[level] = own->shape[3];
      params.strides[level] = static_cast<float>(layout.strides[level]);
      params.cells += params.maps[2 * level].cells;
    }
  } else {
    params.maps[0] = map_of(outputs[0]);
    params.cells = layout.head == Head::boxes ? params.maps[0].cells : params.maps[0].channels;
  }
  params.extra = layout.extra;
  params.turned = layout.task == Task::obb;
  params.direct = layout.direct;
  params.reg_max = layout.reg_max;
  params.classes = layout.classes;
  params.multi_label = is_multi_label(layout, thresholds);
  params.conf = lowest_conf(thresholds);
  params.min_value = layout.head == Head::raw ? logit(params.conf) : params.conf;
}

}  // namespace

/// Fills in everything but the pixels and their addresses.
void CudaPipeline::fill_params(const Batch& batch, const Tensor& input, const std::vector<Tensor>& outputs) {
  const HeadLayout& layout = batch.layout;
  const Thresholds& thresholds = batch.thresholds;
  batch_ = input.shape[0];
  const auto slots = static_cast<std::size_t>(batch_), classes = static_cast<std::size_t>(layout.classes);
  const std::size_t sources = aligned(sizeof(cuda::LaunchParams));
  const std::size_t counts = sources + aligned(slots * sizeof(cuda::Source));
  const std::size_t for_cpu = counts + aligned(slots * sizeof(int));
  const std::size_t floors = for_cpu + aligned(slots * sizeof(int));
  const std::size_t bytes = floors + aligned(classes * sizeof(float));
  const auto cells = slots * cuda::max_candidates;
  const std::size_t order = aligned(cells * sizeof(cuda::Candidate));
  const std::size_t suppressed = order + aligned(cells * sizeof(int));
  const auto max_det = static_cast<std::size_t>(thresholds.max_det);
  const std::size_t gaussians = aligned(suppressed + cells);
  const bool turned = layout.task == Task::obb, masks = layout.task == Task::segment;
  const std::size_t coefficients = gaussians + aligned(turned ? cells * sizeof(GaussianBox) : 0);
  const std::size_t values = turned ? 0 : slots * max_det * static_cast<std::size_t>(layout.extra) * sizeof(float);
  const std::size_t found = aligned((slots + 1) * sizeof(int));
  const std::size_t keypoints = found + aligned(slots * max_det * sizeof(cuda::Candidate));

  const void *before = params_.data(), *device_before = device_params_.data();
  params_.reserve(bytes);
  device_params_.reserve(bytes);
  scratch_.reserve(coefficients + (masks ? values : 0));
  found_.reserve(keypoints + (masks ? 0 : values));
  if (params_.data() != before || device_params_.data() != device_before || bytes != params_bytes_) {
    // The CUDA graph copies from one to the other.
    if (graph_) Cuda::get().graph_exec_destroy(std::exchange(graph_, nullptr));
    if (graph_state_ == Graph::ready) graph_state_ = Graph::capture;
    params_bytes_ = bytes;
  }
  std::memset(params_.data(), 0, bytes);

  cuda::LaunchParams& params = *this->params();
  std::copy(sources_.begin(), sources_.end(), at<cuda::Source>(params_, sources));
  params.sources = at<cuda::Source>(device_params_, sources);
  params.images = static_cast<int>(batch.images.size());
  params.height = input.shape[2];
  params.width = input.shape[3];
  params.input = input.data;
  params.input_half = input.type == Type::f16;
  fill_head(params, layout, thresholds, outputs);
  if (const std::vector<float> given = score_floors(thresholds, layout.classes); !given.empty()) {
    params.floors = at<float>(device_params_, floors);
    std::copy(given.begin(), given.end(), at<float>(params_, floors));
  }
  params.counts = at<int>(device_params_, counts);
  params.for_cpu = at<int>(device_params_, for_cpu);
  params.candidates = at<cuda::Candidate>(scratch_, 0);
  params.order = at<int>(scratch_, order);
  params.suppressed = at<std::uint8_t>(scratch_, suppressed);
  params.nms = layout.nms;
  params.agnostic = thresholds.agnostic;
  params.iou = thresholds.iou;
  params.max_det = thresholds.max_det;
  params.gaussians = at<GaussianBox>(scratch_, gaussians);
  params.found_counts = at<int>(found_, 0);
  params.found = at<cuda::Candidate>(found_, found);
  params.values = masks ? at<float>(scratch_, coefficients) : at<float>(found_, keypoints);
  params.masks.for_cpu = params.found_counts + slots;
}

/// Places the images in the network input. If a host image shrinks, only the rows that the resize reads are uploaded.
void CudaPipeline::fill_sources(const Batch& batch) {
  sources_.assign(batch.images.size(), {});
  offsets_.clear();
  std::size_t bytes = 0;
  for (std::size_t i = 0; i < batch.images.size(); ++i) {
    const Image& image = batch.images[i];
    const Geometry& g = batch.geometries[i];
    const ChannelOrder order = channel_groups(image, 3, {})[0].order;
    cuda::Source& source = sources_[i];
    source.width = image.width;
    source.height = image.height;
    source.step = order.step;
    std::copy(std::begin(order.rgb), std::end(order.rgb), source.rgb);
    source.new_width = g.new_width;
    source.new_height = g.new_height;
    source.left = g.left;
    source.top = g.top;
    source.mirrored = g.mirrored;
    const double ratio_x = static_cast<double>(g.new_width) / image.width;
    const double ratio_y = static_cast<double>(g.new_height) / image.height;
    source.scale_x = 1.0 / ratio_x;
    source.scale_y = 1.0 / ratio_y;
    source.stride = static_cast<std::int64_t>(image.width) * order.step;
    offsets_.push_back(bytes);
    if (image.memory == Memory::cuda) {
      source.pixels = image.pixels;
      if (image.stride) source.stride = image.stride;
    } else {
      source.row_pairs = 2 * g.new_height < image.height;
      bytes += aligned(static_cast<std::size_t>(source.stride) * static_cast<std::size_t>(rows_sent(source)));
    }
  }
  pixels_.reserve(bytes);
  staging_.reserve(bytes);
  for (std::size_t i = 0; i < batch.images.size(); ++i) {
    if (batch.images[i].memory == Memory::host) sources_[i].pixels = at<std::uint8_t>(pixels_, offsets_[i]);
  }
}

void CudaPipeline::send(const Image& image, const cuda::Source& source, std::size_t offset) {
  const Cuda& cuda = Cuda::get();
  const auto row_bytes = static_cast<std::size_t>(source.stride);
  const std::ptrdiff_t stride = image.stride ? image.stride : static_cast<std::ptrdiff_t>(row_bytes);
  const int rows = rows_sent(source);
  const CUdeviceptr target = pixels_.address() + offset;
  CUmemorytype type{};
  const bool pinned = cuda.pointer_attribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE,
                                             reinterpret_cast<CUdeviceptr>(image.pixels)) == CUDA_SUCCESS &&
                      type == CU_MEMORYTYPE_HOST;
  if (pinned && !source.row_pairs && stride == static_cast<std::ptrdiff_t>(row_bytes)) {
    cuda.check(cuda.to_device(target, image.pixels, row_bytes * static_cast<std::size_t>(rows), stream_),
               "copying an image");
    return;
  }
  const int band = static_cast<int>(std::max<std::size_t>(band_bytes / row_bytes, 1));
  for (int first = 0; first < rows; first += band) {
    const int last = std::min(first + band, rows);
    const std::size_t begin = static_cast<std::size_t>(first) * row_bytes;
    auto* to = at<std::uint8_t>(staging_, offset + begin);
    for (int row = first; row < last; ++row, to += row_bytes) {
      int from = row;
      if (source.row_pairs) {
        from = cuda::clamp(cuda::Pair(row / 2, source.scale_y).first + row % 2, 0, image.height - 1);
      }
      std::memcpy(to, image.pixels + from * stride, row_bytes);
    }
    cuda.check(cuda.to_device(target + begin, at<std::uint8_t>(staging_, offset + begin),
                              static_cast<std::size_t>(last - first) * row_bytes, stream_),
               "copying an image");
  }
}

/// Checks an image in GPU memory, and makes the stream wait for pending writes to it.
void CudaPipeline::await(const Image& image) {
  const Cuda& cuda = Cuda::get();
  CUmemorytype type{};
  int ordinal = -1;
  const auto address = reinterpret_cast<CUdeviceptr>(image.pixels);
  if (cuda.pointer_attribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, address) != CUDA_SUCCESS ||
      type == CU_MEMORYTYPE_HOST ||
      cuda.pointer_attribute(&ordinal, CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL, address) != CUDA_SUCCESS) {
    throw std::invalid_argument("image: its memory is set to CUDA, but its pointer is not in CUDA memory");
  }
  if (ordinal != device_->index()) {
    throw std::invalid_argument("image: it is on cuda:" + std::to_string(ordinal) +
                                ", but the Detector on cuda:" + std::to_string(device_->index()));
  }
  if (!image.stream) return;
  cuda.check(cuda.event_record(arrived_, static_cast<CUstream>(image.stream), 0), "waiting for an image");
  cuda.check(cuda.stream_wait(stream_, arrived_, 0), "waiting for an image");
}

}  // namespace yolort
