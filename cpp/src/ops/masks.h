// Masks of detections, from coefficients and prototypes (YOLACT, arXiv:1904.02689), computed within their boxes only.
#pragma once

#include <cstddef>
#include <vector>

#include "core/engine.h"
#include "ops/coordinates.h"
#include "ops/simd/kernels.h"
#include "yolort/yolort.h"

namespace yolort {

/// Maximum memory for the masks of one image.
inline constexpr std::size_t max_mask_bytes = std::size_t{1} << 30;

/// Throws std::invalid_argument if the masks take more than max_mask_bytes.
void check_mask_memory(const std::vector<Mask>& masks);

/// The rectangle around some masks, at least one; no bits yet.
Mask around(const std::vector<const Mask*>& masks);
/// Sets the bits of `mask` to the pixels of all of `masks`, which lie in it.
void join(const std::vector<const Mask*>& masks, Mask& mask);

/// The masks that Ultralytics' process_mask_native (utils/ops.py) makes, which its predict shows with
/// retina_masks=True: the prototypes weighted by the coefficients, enlarged 1, 2 or 4 times so that the padding is
/// whole pixels, resized to the original image without the padding, both bilinearly, and cut at 0 and at the box. The
/// two steps are one here: a pixel is a weighted sum of at most 3 x 3 values of the prototypes' grid.
class MaskDecoder {
 public:
  explicit MaskDecoder(const Kernels& kernels = yolort::kernels()) : kernels_(&kernels) {}

  /// Sets the masks of the detections `found` in image `index` of the batch, and drops those whose mask is empty.
  /// `coefficients`: one row for each. Throws std::invalid_argument if the masks take more than max_mask_bytes.
  void operator()(const Tensor& prototypes, int index, const Geometry& geometry, const std::vector<float>& coefficients,
                  Detections& found);

 private:
  void prepare(const Tensor& prototypes, int index, const Geometry& geometry);
  void find_grid(const Mask& mask, const float* coefficients);
  bool fill(const Mask& mask, std::uint8_t* bits);
  void fill_row(std::size_t x, std::size_t n, std::uint8_t* bits) const;

  const Kernels* kernels_;
  Geometry geometry_;  ///< of the samples
  Samples columns_, rows_;
  std::vector<float> widened_;  ///< f32 copy of f16 prototypes
  const float* prototypes_ = nullptr;
  std::ptrdiff_t stride_ = 0;                  ///< from one prototype to the next
  int channels_ = 0, height_ = 0, width_ = 0;  ///< of the prototypes
  // Of the mask at hand, in the grid of the prototypes. Rows have two values more than a prototype: a sample at the
  // edge gives them the weight 0.
  int top_ = 0, left_ = 0, right_ = 0;
  std::vector<float> grid_, row_;
};

}  // namespace yolort
