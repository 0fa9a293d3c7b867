#include "core/view_plan.h"

#include <algorithm>
#include <set>

#include "model/model.h"

namespace yolort {
namespace {

constexpr int min_scale = 32;
constexpr std::size_t max_scales = 32;  ///< Cluster::views has one bit per view, mirrored ones included

std::string size_text(int height, int width) { return std::to_string(height) + " x " + std::to_string(width); }

int long_side(const Artifact& artifact) { return std::max(artifact.height, artifact.width); }

void check_scales(const std::vector<int>& scales) {
  if (scales.size() > max_scales) {
    throw std::invalid_argument("scales: " + std::to_string(scales.size()) + " given, expected at most " +
                                std::to_string(max_scales));
  }
  std::set<int> seen;
  for (const int scale : scales) {
    if (scale < min_scale || scale > max_imgsz) {
      throw std::invalid_argument("scales: " + std::to_string(scale) + " is out of range, expected " +
                                  std::to_string(min_scale) + " to " + std::to_string(max_imgsz) +
                                  ", the longer side of the network input in pixels");
    }
    if (!seen.insert(scale).second) {
      throw std::invalid_argument("scales: " + std::to_string(scale) + " is given twice");
    }
  }
}

[[noreturn]] void no_artifact(int scale, const std::vector<Artifact>& artifacts) {
  std::string sizes;
  for (const Artifact& artifact : artifacts) {
    sizes += (sizes.empty() ? "model \"" : ", model \"") + artifact.path + "\" is fixed to " +
             size_text(artifact.height, artifact.width);
  }
  throw std::invalid_argument("scales: " + std::to_string(scale) + " is larger than any input: " + sizes +
                              "; export the model with dynamic shapes (ONNX, OpenVINO, TensorRT), or add an artifact "
                              "of that size to scale_models");
}

PlacedView place(int scale, const std::vector<Artifact>& artifacts) {
  const Artifact* chosen = nullptr;
  for (const Artifact& artifact : artifacts) {  // preference: exact size, then dynamic, then the smallest larger one
    const int side = long_side(artifact), best = chosen ? long_side(*chosen) : 0;
    if (chosen && best == scale) break;
    if (side == scale) {
      chosen = &artifact;
    } else if (!artifact.fixed) {
      if (!chosen || chosen->fixed) chosen = &artifact;
    } else if (side > scale && (!chosen || (chosen->fixed && side < best))) {
      chosen = &artifact;
    }
  }
  if (!chosen) no_artifact(scale, artifacts);

  PlacedView out;
  out.artifact = static_cast<std::size_t>(chosen - artifacts.data());
  out.scale = scale;
  out.model = chosen->path;
  out.imgsz = {chosen->height, chosen->width};
  if (!chosen->fixed && long_side(*chosen) != scale) {
    for (int& side : out.imgsz) {
      const double wanted = static_cast<double>(side) * scale / long_side(*chosen);
      const int cells = std::max(1, static_cast<int>((wanted + chosen->stride - 1e-6) / chosen->stride));
      side = cells * chosen->stride;
    }
  }
  out.fraction = static_cast<double>(scale) / std::max(out.imgsz[0], out.imgsz[1]);
  return out;
}

}  // namespace

std::vector<PlacedView> plan_views(std::vector<int> scales, bool flip, const std::vector<Artifact>& artifacts) {
  if (scales.empty()) {
    for (const Artifact& artifact : artifacts) scales.push_back(long_side(artifact));
  }
  check_scales(scales);
  std::vector<PlacedView> out;
  std::vector<bool> used(artifacts.size(), false);
  for (const int scale : scales) {
    PlacedView view = place(scale, artifacts);
    used[view.artifact] = true;
    out.push_back(view);
    view.flip = true;
    if (flip) out.push_back(std::move(view));
  }
  for (std::size_t i = 1; i < artifacts.size(); ++i) {  // not the model itself, the first
    if (!used[i]) {
      throw std::invalid_argument("scale_models: no scale runs on \"" + artifacts[i].path + "\" of " +
                                  size_text(artifacts[i].height, artifacts[i].width));
    }
  }
  return out;
}

}  // namespace yolort
