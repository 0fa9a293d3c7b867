// Letterbox, decoding and NMS on a GPU: counterparts of ops/letterbox, ops/decode and ops/nms that return identical
// numbers. The
// same functions are compiled for the GPU (kernels.cu) and, for tests, for the host.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "cuda/params.h"

namespace yolort::cuda {

// ---- letterbox ----

/// Two source pixels and their weights; see Position and to_weight of ops/letterbox.cpp.
struct Pair {
  int first;
  int weights[2];

  YOLORT_BOTH Pair(int i, double scale) {
    const float position = static_cast<float>((i + 0.5) * scale - 0.5);
    const float floor = floorf(position);
    const float fraction = position - floor;
    first = static_cast<int>(floor);
    weights[0] = static_cast<int>(rintf((1.0f - fraction) * 2048));
    weights[1] = static_cast<int>(rintf(fraction * 2048));
  }
};

YOLORT_BOTH inline int clamp(int value, int min, int max) { return value < min ? min : value > max ? max : value; }

/// Pixel x, y of image `image` in the network input: three values.
YOLORT_BOTH inline void letterbox(const LaunchParams& params, int image, int x, int y) {
  const Source& source = params.sources[image];
  float rgb[3] = {114.0f / 255.0f, 114.0f / 255.0f, 114.0f / 255.0f};
  const int column = x - source.left, row = y - source.top;
  if (column >= 0 && column < source.new_width && row >= 0 && row < source.new_height) {
    Pair across(column, source.scale_x);
    if (across.first < 0 || across.first >= source.width - 1) {  // only the edge pixel counts
      across.first = clamp(across.first, 0, source.width - 1);
      across.weights[0] = 2048;
      across.weights[1] = 0;
    }
    const int second = across.weights[1] ? source.step : 0;
    if (source.mirrored) {  // mirrored: the pair is read in reverse
      across.first = source.width - 1 - across.first;
      if (second) {
        --across.first;
        const int weight = across.weights[0];
        across.weights[0] = across.weights[1];
        across.weights[1] = weight;
      }
    }
    const Pair down(row, source.scale_y);
    const std::uint8_t* rows[2];
    for (int r = 0; r < 2; ++r) {
      const std::int64_t y_source = source.row_pairs ? 2 * row + r : clamp(down.first + r, 0, source.height - 1);
      rows[r] = source.pixels + y_source * source.stride + static_cast<std::int64_t>(across.first) * source.step;
    }
    for (int c = 0; c < 3; ++c) {
      int sum = 2;
      for (int r = 0; r < 2; ++r) {
        const std::uint8_t* pixel = rows[r] + source.rgb[c];
        sum += (down.weights[r] * ((pixel[0] * across.weights[0] + pixel[second] * across.weights[1]) >> 4)) >> 16;
      }
      rgb[c] = static_cast<float>(sum >> 2) * (1.0f / 255.0f);
    }
  }
  const std::int64_t plane = static_cast<std::int64_t>(params.width) * params.height;
  const std::int64_t origin = 3 * plane * image + static_cast<std::int64_t>(y) * params.width + x;
  for (int c = 0; c < 3; ++c) {
    if (params.input_half) {
      static_cast<std::uint16_t*>(params.input)[origin + c * plane] = to_half(rgb[c]);
    } else {
      static_cast<float*>(params.input)[origin + c * plane] = rgb[c];
    }
  }
}

// ---- decode ----

/// `order`: number of candidates that the CPU would find before this one.
YOLORT_BOTH inline void add(const LaunchParams& params, int image, std::uint32_t order, int anchor, const float* box,
                            float angle, float score, int cls) {
  const bool numbers = finite(box[0]) && finite(box[1]) && finite(box[2]) && finite(box[3]) && finite(angle);
  if (!numbers) params.for_cpu[image] = 1;
  const int place = count_up(&params.counts[image]);
  if (place >= max_candidates) return;
  Candidate& to = params.candidates[static_cast<std::int64_t>(image) * max_candidates + place];
  std::uint32_t bits;  // bits of a positive score, which sort like the score
  memcpy(&bits, &score, sizeof bits);
  to.key = static_cast<std::uint64_t>(bits) << 32 | (0xFFFFFFFFu - order);
  for (int k = 0; k < 4; ++k) to.box[k] = box[k];
  to.score = score;
  to.cls = cls;
  to.anchor = anchor;
  to.angle = angle;
}

/// Where an anchor's additional values are: the map, the index of the first value, and the step to the next.
struct Extra {
  Map map;
  std::int64_t first, step;
  int level, cell;  ///< raw
};

YOLORT_BOTH inline Extra extra_of(const LaunchParams& params, int image, int anchor) {
  if (params.head == HeadKind::end2end) {
    const Map& rows = params.maps[0];
    return {rows, (static_cast<std::int64_t>(image) * rows.channels + anchor) * rows.cells + 6, 1, 0, 0};
  }
  int level = 0;
  if (params.head == HeadKind::raw) {
    while (anchor >= params.maps[2 * level].cells) anchor -= params.maps[2 * level++].cells;
  }
  const Map& map = params.head == HeadKind::raw ? params.extra_maps[level] : params.maps[0];
  const int channel = params.head == HeadKind::raw ? 0 : 4 + params.classes;
  return {map, (static_cast<std::int64_t>(image) * map.channels + channel) * map.cells + anchor, map.cells, level,
          anchor};
}

/// Turns the box of an anchor and returns its angle; see turn() of ops/rotated.h.
YOLORT_BOTH inline float turn(const LaunchParams& params, int image, int anchor, float (&box)[4]) {
  if (!params.turned) return 0;
  const Extra extra = extra_of(params, image, anchor);
  const float value = at(extra.map, extra.first);
  if (params.head != HeadKind::raw) return value;
  const float angle = angle_of(value, params.direct), stride = params.strides[extra.level];
  const int columns = params.columns[extra.level];
  turn_around((static_cast<float>(extra.cell % columns) + 0.5f) * stride,
              (static_cast<float>(extra.cell / columns) + 0.5f) * stride, angle, box);
  return angle;
}

/// Distance of one box side in cells; see box_side() of ops/decode.h.
YOLORT_BOTH inline float box_side(const Map& map, std::int64_t index, int reg_max) {
  if (reg_max == 1) return at(map, index);
  float top = at(map, index);
  for (int k = 1; k < reg_max; ++k) top = fmaxf(top, at(map, index + static_cast<std::int64_t>(k) * map.cells));
  float sum = 0, weighted = 0;
  for (int k = 0; k < reg_max; ++k) {
    const float e = expf(at(map, index + static_cast<std::int64_t>(k) * map.cells) - top);
    sum += e;
    weighted += e * static_cast<float>(k);
  }
  return weighted / sum;
}

/// From center and size.
YOLORT_BOTH inline void to_corners(float (&box)[4]) {
  const float width = box[2] / 2, height = box[3] / 2, cx = box[0], cy = box[1];
  box[0] = cx - width;
  box[1] = cy - height;
  box[2] = cx + width;
  box[3] = cy + height;
}

/// Adds the candidates of one cell. `score_of` turns a value of `scores` into a score, `box_of` writes the box.
template <class Score, class BoxOf>
YOLORT_BOTH inline void decode_cell(const LaunchParams& params, int image, const Map& scores, std::int64_t first,
                                    int before, int cell, Score score_of, BoxOf box_of) {
  const std::int64_t index = first + cell;
  float best = -INFINITY;
  int best_cls = 0;
  bool numbers = true;
  for (int c = 0; c < params.classes; ++c) {
    const float value = at(scores, index + static_cast<std::int64_t>(c) * scores.cells);
    numbers = numbers && finite(value);
    if (value > best) {
      best = value;
      best_cls = c;
    }
  }
  if (!numbers) params.for_cpu[image] = 1;
  if (!(best > params.min_value)) return;
  float box[4] = {}, angle = 0;
  bool have_box = false;
  const int from = params.multi_label ? 0 : best_cls, to = params.multi_label ? params.classes : best_cls + 1;
  for (int c = from; c < to; ++c) {
    const float value = at(scores, index + static_cast<std::int64_t>(c) * scores.cells);
    if (!(value > params.min_value)) continue;
    const float score = score_of(value);
    if (!(score > (params.floors ? params.floors[c] : params.conf))) continue;
    if (!have_box) {
      box_of(box);
      angle = turn(params, image, before + cell, box);
    }
    have_box = true;
    add(params, image, static_cast<std::uint32_t>(before + cell) * static_cast<std::uint32_t>(params.classes) + c,
        before + cell, box, angle, score, c);
  }
}

/// Cell `cell` of all levels of image `image`; a row of end2end.
YOLORT_BOTH inline void decode(const LaunchParams& params, int image, int cell) {
  if (params.head == HeadKind::end2end) {
    const Map& rows = params.maps[0];
    float row[6];
    for (int k = 0; k < 6; ++k) {
      row[k] = at(rows, (static_cast<std::int64_t>(image) * rows.channels + cell) * rows.cells + k);
    }
    if (!finite(row[4])) params.for_cpu[image] = 1;
    if (!(row[4] > params.conf)) return;
    float box[4] = {row[0], row[1], row[2], row[3]};
    if (params.turned) to_corners(box);
    const bool box_is_finite = finite(row[0]) && finite(row[1]) && finite(row[2]) && finite(row[3]);
    if (!box_is_finite || !(row[5] >= 0 && row[5] < static_cast<float>(params.classes))) {
      params.for_cpu[image] = 1;
    } else if (row[4] > (params.floors ? params.floors[static_cast<int>(row[5])] : params.conf)) {
      add(params, image, static_cast<std::uint32_t>(cell), cell, box, turn(params, image, cell, box), row[4],
          static_cast<int>(row[5]));
    }
    return;
  }
  if (params.head == HeadKind::boxes) {
    const Map& all = params.maps[0];
    const std::int64_t origin = static_cast<std::int64_t>(image) * all.channels * all.cells;
    decode_cell(
        params, image, all, origin + 4 * static_cast<std::int64_t>(all.cells), 0, cell,
        [](float value) { return value; },
        [&](float (&box)[4]) {
          for (int k = 0; k < 4; ++k) box[k] = at(all, origin + static_cast<std::int64_t>(k) * all.cells + cell);
          to_corners(box);
        });
    return;
  }
  int level = 0, before = 0;
  while (cell - before >= params.maps[2 * level].cells) before += params.maps[2 * level++].cells;
  const Map &boxes = params.maps[2 * level], &scores = params.maps[2 * level + 1];
  const int local = cell - before;
  decode_cell(
      params, image, scores, static_cast<std::int64_t>(image) * scores.channels * scores.cells, before, local,
      [](float value) { return 1.0f / (1.0f + expf(-value)); },
      [&](float (&box)[4]) {
        const std::int64_t origin = static_cast<std::int64_t>(image) * boxes.channels * boxes.cells + local;
        const std::int64_t next_side = static_cast<std::int64_t>(params.reg_max) * boxes.cells;
        const float x = static_cast<float>(local % params.columns[level]) + 0.5f;
        const float y = static_cast<float>(local / params.columns[level]) + 0.5f;
        box[0] = (x - box_side(boxes, origin, params.reg_max)) * params.strides[level];
        box[1] = (y - box_side(boxes, origin + next_side, params.reg_max)) * params.strides[level];
        box[2] = (x + box_side(boxes, origin + 2 * next_side, params.reg_max)) * params.strides[level];
        box[3] = (y + box_side(boxes, origin + 3 * next_side, params.reg_max)) * params.strides[level];
      });
}

// ---- select: sort, NMS ----

YOLORT_BOTH inline float area(const float* box) { return (box[2] - box[0]) * (box[3] - box[1]); }

YOLORT_BOTH inline bool overlaps(const float* better, const float* other, float iou) {
  const float width = fminf(better[2], other[2]) - fmaxf(better[0], other[0]);
  const float height = fminf(better[3], other[3]) - fmaxf(better[1], other[1]);
  const float common = fmaxf(width, 0.0f) * fmaxf(height, 0.0f);
  return common / (area(better) + area(other) - common) > iou;
}

/// One box of rotated_suppression() in ops/rotated.h, independent of the others.
template <class Block>
YOLORT_BOTH inline void suppress_turned(const LaunchParams& params, const Candidate* candidates, const int* order,
                                        std::uint8_t* suppressed, GaussianBox* gaussians, int n, const Block& block) {
  block.each(n, [&](int i) {
    const Candidate& own = candidates[order[i]];
    gaussians[i] = gaussian_box(own.box, own.angle, own.cls);
  });
  const float limit = distance_of(params.iou);
  block.each(n, [&](int i) {
    for (int j = 0; j < i && !suppressed[i]; ++j) {
      suppressed[i] = suppresses(gaussians[j], gaussians[i], limit, params.agnostic);
    }
  });
}

/// Copies the additional values of the remaining boxes; see ExtraValues.
template <class Block>
YOLORT_BOTH inline void gather(const LaunchParams& params, int image, int kept, const Block& block) {
  if (params.turned) return;
  const std::int64_t first = static_cast<std::int64_t>(image) * params.max_det;
  block.each(kept * params.extra, [&](int i) {
    const Extra extra = extra_of(params, image, params.found[first + i / params.extra].anchor);
    const float value = at(extra.map, extra.first + i % params.extra * extra.step);
    params.values[first * params.extra + i] = value;
    if (!finite(value)) params.for_cpu[image] = 1;
  });
}

/// One block per image. `block.each(n, f)` calls f(i) for all i < n on the threads of the block, then synchronizes
/// them.
template <class Block>
YOLORT_BOTH inline void select(const LaunchParams& params, int image, const Block& block) {
  const int n = params.counts[image];
  if (n > max_candidates || params.for_cpu[image]) {
    block.one([&] { params.found_counts[image] = -1; });
    return;
  }
  const std::int64_t first = static_cast<std::int64_t>(image) * max_candidates;
  const Candidate* candidates = params.candidates + first;
  int* order = params.order + first;
  std::uint8_t* suppressed = params.suppressed + first;
  block.each(n, [&](int i) {
    int rank = 0;
    for (int j = 0; j < n; ++j) rank += candidates[j].key > candidates[i].key;
    order[rank] = i;
    suppressed[i] = 0;
  });
  if (params.nms && params.turned) {
    suppress_turned(params, candidates, order, suppressed, params.gaussians + first, n, block);
  }
  int kept = 0;
  Candidate* found = params.found + static_cast<std::int64_t>(image) * params.max_det;
  for (int i = 0; i < n && kept < params.max_det; ++i) {
    if (suppressed[i]) continue;  // no thread writes this one any more
    const Candidate& better = candidates[order[i]];
    block.one([&] { found[kept] = better; });
    ++kept;
    if (!params.nms || params.turned) continue;
    block.each(n - i - 1, [&](int k) {
      const int j = i + 1 + k;
      const Candidate& other = candidates[order[j]];
      if (!suppressed[j] && (params.agnostic || other.cls == better.cls) &&
          overlaps(better.box, other.box, params.iou)) {
        suppressed[j] = 1;
      }
    });
  }
  block.each(0, [](int) {});  // all of `found` is written
  gather(params, image, kept, block);
  block.one([&] { params.found_counts[image] = params.for_cpu[image] ? -1 : kept; });
}

// ---- what each thread of a kernel does ----

YOLORT_BOTH inline void letterbox_thread(const LaunchParams& params, int image, int x, int y) {
  if (x < params.width && y < params.height && image < params.images) letterbox(params, image, x, y);
}

YOLORT_BOTH inline void decode_thread(const LaunchParams& params, int image, int cell) {
  if (cell < params.cells && image < params.images) decode(params, image, cell);
}

template <class Block>
YOLORT_BOTH inline void select_block(const LaunchParams& params, int image, const Block& block) {
  if (image < params.images) select(params, image, block);
}

}  // namespace yolort::cuda
