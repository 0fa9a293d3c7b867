// Decodes outputs to detections: first thresholds in logit space, then computes boxes only for survivors, and applies
// NMS only if needed.
#pragma once

#include <cstddef>
#include <vector>

#include "core/engine.h"
#include "model/model.h"
#include "ops/coordinates.h"
#include "ops/masks.h"
#include "ops/nms.h"
#include "ops/simd/kernels.h"

namespace yolort {

/// Throws std::invalid_argument naming the setting that is out of range.
void check_thresholds(const Thresholds& thresholds, int classes);

/// The score thresholds per class, and the lowest of them.
float conf_of(const Thresholds& thresholds, int cls);
float lowest_conf(const Thresholds& thresholds);

/// Score thresholds by class; infinity for classes that are not selected. Empty: conf for all.
std::vector<float> score_floors(const Thresholds& thresholds, int classes);

/// The logit of a score, slightly lower so that rounding loses no candidate; the score itself is compared later.
float logit(float score);

/// Distance from a cell's centre to one side of its box, in cells: the value itself, or the mean of its distribution
/// (DFL, arXiv:2006.04388). `bins`: reg_max values, `stride` apart.
float box_side(const float* bins, std::ptrdiff_t stride, int reg_max);

/// Whether an anchor can produce one detection per class: if requested, or for one-to-one branches (Ultralytics
/// Detect.get_topk_index).
bool is_multi_label(const HeadLayout& layout, const Thresholds& thresholds);

/// Converts candidates to detections in pixels of the image. `values`: HeadLayout::extra values per candidate, except
/// angles.
/// Only the shapes of `outputs` are read. Masks are left to MaskDecoder. Throws EngineError for boxes that overflow.
Detections to_detections(const HeadLayout& layout, const std::vector<Tensor>& outputs, const Geometry& geometry,
                         const std::vector<Candidate>& candidates, std::vector<float> values);

class Decoder {
 public:
  /// `threads`: see MaskDecoder.
  explicit Decoder(const Kernels& kernels = yolort::kernels(), int threads = available_cores())
      : kernels_(&kernels), masks_(kernels, threads) {}

  /// Detections of image `index` of the batch. Throws EngineError if the outputs hold NaN or infinity, and
  /// std::invalid_argument if masks take more memory than max_mask_bytes.
  Detections operator()(const HeadLayout& layout, const std::vector<Tensor>& outputs, int index,
                        const Geometry& geometry, const Thresholds& thresholds);

 private:
  struct FloatMap;  ///< one image's output as f32
  FloatMap float_map(const Tensor& tensor, int index, std::size_t slot);
  void decode_raw(const HeadLayout& layout, const std::vector<Tensor>& outputs, int index,
                  const Thresholds& thresholds);
  void decode_boxes(const HeadLayout& layout, const Tensor& output, int index, const Geometry& geometry,
                    const Thresholds& thresholds);
  void decode_rows(const HeadLayout& layout, const Tensor& output, int index, const Geometry& geometry,
                   const Thresholds& thresholds);
  void decode_end2end(const HeadLayout& layout, const Tensor& output, int index, const Geometry& geometry,
                      const Thresholds& thresholds);
  void decode_indexed(const HeadLayout& layout, const Tensor& output, int index, const Thresholds& thresholds);
  void add_row(const HeadLayout& layout, const Box& box, float score, float cls, std::size_t row,
               const Thresholds& thresholds);
  template <class Score, class DecodeBox>
  void collect(const FloatMap& scores, std::size_t first, float threshold, bool multi_label,
               const Thresholds& thresholds, Score score, DecodeBox decode_box);

  const Kernels* kernels_;
  MaskDecoder masks_;
  std::vector<Candidate> candidates_;
  std::vector<float> best_;
  std::vector<float> widened_[2 * max_levels];  ///< f32 copies of f16 outputs
  std::vector<float> floors_;                   ///< see `score_floors`
  float lowest_ = 0;                            ///< see `lowest_conf`
};

}  // namespace yolort
