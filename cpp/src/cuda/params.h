// The parameters and shared types of the GPU kernels.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "ops/gaussian_box.h"

#ifdef __CUDACC__
#include <cuda_fp16.h>
#else
#include "ops/half.h"
#endif

namespace yolort::cuda {

constexpr int max_levels = 8;
/// Maximum number of candidates per image; with more, the CPU decodes.
constexpr int max_candidates = 16384;

/// The position of an image in memory and in the network input; see Geometry and Letterbox.
struct Source {
  const std::uint8_t* pixels;  ///< of the GPU
  std::int64_t stride;         ///< bytes from one row to the next; may be negative
  int width, height;
  int step, rgb[3];  ///< ChannelOrder
  bool row_pairs;    ///< only the needed rows were uploaded: output row y reads rows 2y and 2y + 1
  int new_width, new_height, left, top;
  bool mirrored;
  double scale_x, scale_y;  ///< source pixels per output pixel
};

/// An output of the network: batch x channels x cells, contiguous.
struct Map {
  const void* data;
  bool half;
  int channels, cells;
};

struct Candidate {
  std::uint64_t key;  ///< score, then the order in which the CPU finds them; larger keys come first
  float box[4];       ///< in the network input
  float score;
  int cls;
  int anchor;  ///< see ExtraValues
  float angle;
};

enum class HeadKind { raw, boxes, end2end };

/// A position along one side of a mask; see Samples of ops/simd/kernels.h.
struct Sample {
  int first;
  float weights[3];
};

/// The mask of a detection.
struct MaskSpan {
  int x, y, width, height;  ///< pixels of the image
  int top, left;            ///< position of its grid, in prototypes
  int rows, columns;        ///< size of its grid: two more than the number of samples
  std::int64_t grid, bits;  ///< where both start
  int values;               ///< where its coefficients start
};

/// The kernels' parameters for the masks of one image. Masks are launched once the host knows how large they are.
struct MaskParams {
  Map prototypes;
  int image;          ///< of the batch
  int height, width;  ///< of a prototype
  int count;          ///< masks
  const MaskSpan* spans;
  const Sample *columns, *rows;  ///< one per column and row of the image
  const float* values;           ///< coefficients of the image
  float* grids;
  std::uint8_t* bits;  ///< see Mask
  int* for_cpu;        ///< not 0 if the CPU has to report an error; zero at first
};

/// All parameters of one run, in GPU memory.
struct LaunchParams {
  // letterbox
  const Source* sources;
  int images;  ///< may be fewer than a fixed batch
  int width, height;
  void* input;
  bool input_half;

  // decode
  HeadKind head;
  int cells;                   ///< number of cells of all levels; of rows for end2end
  Map maps[2 * max_levels];    ///< raw: boxes and classes of each level
  Map extra_maps[max_levels];  ///< raw: additional values of the anchors, per level
  int extra;                   ///< values; see HeadLayout
  bool turned, direct;         ///< boxes have angles, decoded as in OBB26
  int columns[max_levels];     ///< raw: of the level's cells
  float strides[max_levels];
  int reg_max, classes;
  bool multi_label;
  float conf, min_value;  ///< a score, and a slightly lower value in the unit of the maps
  const float* floors;    ///< score threshold per class; null: conf
  Candidate* candidates;  ///< max_candidates per image
  int* counts;            ///< candidates found per image; zero at first
  int* for_cpu;           ///< per image: not 0 if the CPU has to report something; zero at first

  // select
  bool nms, agnostic;
  float iou;
  int max_det;
  int* order;                ///< max_candidates per image
  std::uint8_t* suppressed;  ///< max_candidates per image
  GaussianBox* gaussians;    ///< max_candidates per image, if boxes have angles
  Candidate* found;          ///< max_det per image
  float* values;             ///< `extra` of each of these, except angles
  int* found_counts;         ///< per image; -1: the CPU has to decode it

  MaskParams masks;
};

#ifdef __CUDACC__
YOLORT_BOTH inline float to_float(std::uint16_t half) { return __half2float(__ushort_as_half(half)); }
YOLORT_BOTH inline std::uint16_t to_half(float value) { return __half_as_ushort(__float2half_rn(value)); }
#else
inline float to_float(std::uint16_t half) { return half_to_float(half); }
inline std::uint16_t to_half(float value) { return float_to_half(value); }
#endif

YOLORT_BOTH inline float at(const Map& map, std::int64_t index) {
  return map.half ? to_float(static_cast<const std::uint16_t*>(map.data)[index])
                  : static_cast<const float*>(map.data)[index];
}

YOLORT_BOTH inline bool finite(float value) { return value - value == 0; }

/// Adds one; returns the previous value.
YOLORT_BOTH inline int count_up(int* counter) {
#ifdef __CUDA_ARCH__
  return atomicAdd(counter, 1);
#else
  return (*counter)++;
#endif
}

}  // namespace yolort::cuda
