// Masks of detections, from coefficients and prototypes (YOLACT, arXiv:1904.02689), computed within their boxes only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "core/engine.h"
#include "ops/coordinates.h"
#include "ops/simd/kernels.h"
#include "platform/processor.h"
#include "yolort/yolort.h"

namespace yolort {

/// Maximum memory for the masks of one image.
inline constexpr std::size_t max_mask_bytes = std::size_t{1} << 30;

/// Throws std::invalid_argument if the masks take more than max_mask_bytes.
void check_mask_memory(const std::vector<Mask>& masks);

/// Memory of the bits of a mask, bytes.
std::size_t bytes_of(const Mask& mask);
/// Zeroed bits. Large blocks take physical memory only once written.
std::shared_ptr<std::uint8_t> make_bits(std::size_t bytes);
/// The mask rectangle: pixels whose upper left corner lies in the box. The bits are not set yet.
Mask pixels_of(const Box& box);
/// Leaves out the detections whose mask has no pixel.
void drop_empty(Detections& found);

/// The position of an image's pixels in prototypes of this size.
struct MaskSamples {
  Samples columns, rows;
};
MaskSamples mask_samples(const Geometry& geometry, int height, int width);

/// The rectangle around one or more masks. The bits are not set yet.
Mask around(const std::vector<const Mask*>& masks);
/// Sets the bits of `mask` to the union of `masks`, which lie inside it.
void join(const std::vector<const Mask*>& masks, Mask& mask);

/// The masks that Ultralytics' process_mask_native (utils/ops.py) makes, which its predict shows with
/// retina_masks=True: the prototypes weighted by the coefficients, enlarged 1, 2 or 4 times so that the padding is
/// whole pixels, resized to the original image without the padding, both bilinearly, and cut at 0 and at the box. Both
/// steps are combined here: a pixel is a weighted sum of at most 3 x 3 values of the prototypes' grid.
class MaskDecoder {
 public:
  /// `threads`: number of threads that work on the masks of one image.
  explicit MaskDecoder(const Kernels& kernels = yolort::kernels(), int threads = available_cores())
      : kernels_(&kernels), threads_(static_cast<std::size_t>(threads)) {}

  /// Sets the masks of the detections `found` in image `index` of the batch, and drops those whose mask is empty.
  /// `coefficients`: one row for each. Throws std::invalid_argument if the masks take more than max_mask_bytes.
  void operator()(const Tensor& prototypes, int index, const Geometry& geometry, const std::vector<float>& coefficients,
                  Detections& found);

 private:
  /// The weighted prototypes of one mask, in their own grid. Rows have two more values than a prototype; samples at the
  /// edge give these the weight 0.
  struct Grid {
    int top = 0, left = 0, right = 0;
    std::vector<float> values, row;
  };

  void prepare(const Tensor& prototypes, int index, const Geometry& geometry);
  void decode(const float* coefficients, Grid& grid, Mask& mask) const;
  void find_grid(const Mask& mask, const float* coefficients, Grid& grid) const;
  void fill(const Mask& mask, Grid& grid, std::uint8_t* bits) const;
  void fill_row(const Grid& grid, std::size_t x, std::size_t n, std::uint8_t* bits) const;

  const Kernels* kernels_;
  std::size_t threads_;
  Geometry geometry_;  ///< of the samples
  MaskSamples samples_;
  std::vector<float> widened_;  ///< f32 copy of f16 prototypes
  const float* prototypes_ = nullptr;
  std::ptrdiff_t stride_ = 0;                  ///< from one prototype to the next
  int channels_ = 0, height_ = 0, width_ = 0;  ///< of the prototypes
  std::vector<Grid> grids_;                    ///< of each thread
};

}  // namespace yolort
