// Rotated boxes as Gaussians (arXiv:2106.06072). nvcc compiles these functions for GPUs as well.
#pragma once

#include <cmath>

#ifdef __CUDACC__
#define YOLORT_BOTH __host__ __device__
#else
#define YOLORT_BOTH
#endif

namespace yolort {

/// A box as a Gaussian: its center, and the covariance [[a, c], [c, b]].
struct GaussianBox {
  float x, y, a, b, c;
  int cls;
};

/// Ultralytics' eps.
constexpr float gaussian_epsilon = 1e-7f;

/// The Gaussian of the box with these corners, rotated by `angle` around its center.
YOLORT_BOTH inline GaussianBox gaussian_box(const float (&box)[4], float angle, int cls) {
  const float width = box[2] - box[0], height = box[3] - box[1];
  const float along = width * width / 12, across = height * height / 12;
  const float cos = cosf(angle), sin = sinf(angle);
  return {(box[0] + box[2]) / 2,
          (box[1] + box[3]) / 2,
          along * cos * cos + across * sin * sin,
          along * sin * sin + across * cos * cos,
          (along - across) * cos * sin,
          cls};
}

/// The value, but at least 0; NaN is kept.
YOLORT_BOTH inline float positive(float value) { return value < 0 ? 0.0f : value; }

/// The Bhattacharyya distance, cut to epsilon..100; NaN if the sizes overflow.
YOLORT_BOTH inline float distance(const GaussianBox& p, const GaussianBox& q) {
  const float dx = q.x - p.x, dy = p.y - q.y;
  const float a = p.a + q.a, b = p.b + q.b, c = p.c + q.c;
  const float determinant = a * b - c * c;
  const float place = (0.25f * (a * dy * dy + b * dx * dx) + 0.5f * c * dx * dy) / (determinant + gaussian_epsilon);
  const float areas = positive(p.a * p.b - p.c * p.c) * positive(q.a * q.b - q.c * q.c);
  const float shape = 0.5f * logf(determinant / (4 * sqrtf(areas) + gaussian_epsilon) + gaussian_epsilon);
  const float sum = place + shape;
  return sum < gaussian_epsilon ? gaussian_epsilon : sum > 100 ? 100.0f : sum;
}

/// The distance at which the probabilistic IoU, 1 - sqrt(1 - exp(-distance) + epsilon), is `iou`.
YOLORT_BOTH inline float distance_of(float iou) { return -logf(1 + gaussian_epsilon - (1 - iou) * (1 - iou)); }

/// Whether the distance between the centers alone reaches `limit`, using the trace as an upper bound of the covariance.
YOLORT_BOTH inline bool is_far(const GaussianBox& p, const GaussianBox& q, float limit) {
  const float dx = q.x - p.x, dy = q.y - p.y;
  return 0.25f * (dx * dx + dy * dy) > limit * (p.a + q.a + p.b + q.b);
}

/// Whether Fast-NMS (arXiv:1904.02689) drops a box for a better one.
YOLORT_BOTH inline bool suppresses(const GaussianBox& better, const GaussianBox& other, float limit, bool agnostic) {
  return (agnostic || better.cls == other.cls) && !is_far(better, other, limit) && distance(better, other) < limit;
}

/// Rotates a box of a raw head (Ultralytics' dist2rbox, utils/tal.py), including its center's offset from the cell
/// center at `x`, `y`.
YOLORT_BOTH inline void turn_around(float x, float y, float angle, float (&box)[4]) {
  const float width = box[2] - box[0], height = box[3] - box[1];
  const float dx = (box[0] + box[2]) / 2 - x, dy = (box[1] + box[3]) / 2 - y;
  const float cos = cosf(angle), sin = sinf(angle);
  const float cx = dx * cos - dy * sin + x, cy = dx * sin + dy * cos + y;
  box[0] = cx - width / 2;
  box[1] = cy - height / 2;
  box[2] = cx + width / 2;
  box[3] = cy + height / 2;
}

/// The angle for an output of a raw head, in radians. `direct`: encoded as in OBB26.
YOLORT_BOTH inline float angle_of(float value, bool direct) {
  return direct ? value : (1 / (1 + expf(-value)) - 0.25f) * 3.14159265358979f;
}

}  // namespace yolort
