#include "core/view_plan.h"

#include <algorithm>
#include <set>

#include "model/model.h"

namespace yolort {
namespace {

constexpr int min_scale = 32;
constexpr std::size_t max_scales = 32;  ///< twice that many views have a bit each in Cluster::views

std::string size_text(int height, int width) { return std::to_string(height) + " x " + std::to_string(width); }

int long_side(const Artefact& artefact) { return std::max(artefact.height, artefact.width); }

void check_scales(const std::vector<int>& scales) {
  if (scales.size() > max_scales) {
    throw std::invalid_argument("scales: " + std::to_string(scales.size()) + " of them, expected at most " +
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
      throw std::invalid_argument("scales: " + std::to_string(scale) + " stands there twice");
    }
  }
}

[[noreturn]] void no_artefact(int scale, const std::vector<Artefact>& artefacts) {
  std::string sizes;
  for (const Artefact& artefact : artefacts) {
    sizes += (sizes.empty() ? "model \"" : ", model \"") + artefact.given + "\" is fixed to " +
             size_text(artefact.height, artefact.width);
  }
  throw std::invalid_argument("scales: " + std::to_string(scale) + " is larger than any input: " + sizes +
                              "; export the model with dynamic shapes (ONNX, OpenVINO, TensorRT), or give an artefact "
                              "of that size in scale_models");
}

PlacedView place(int scale, const std::vector<Artefact>& artefacts) {
  const Artefact* chosen = nullptr;
  for (const Artefact& one : artefacts) {  // of that size; else dynamic; else the smallest that is larger
    const int side = long_side(one), best = chosen ? long_side(*chosen) : 0;
    if (chosen && best == scale) break;
    if (side == scale) {
      chosen = &one;
    } else if (!one.fixed) {
      if (!chosen || chosen->fixed) chosen = &one;
    } else if (side > scale && (!chosen || (chosen->fixed && side < best))) {
      chosen = &one;
    }
  }
  if (!chosen) no_artefact(scale, artefacts);

  PlacedView out;
  out.artefact = static_cast<std::size_t>(chosen - artefacts.data());
  out.scale = scale;
  out.model = chosen->given;
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

std::vector<PlacedView> plan_views(std::vector<int> scales, bool flip, const std::vector<Artefact>& artefacts) {
  if (scales.empty()) {
    for (const Artefact& artefact : artefacts) scales.push_back(long_side(artefact));
  }
  check_scales(scales);
  std::vector<PlacedView> out;
  std::vector<bool> used(artefacts.size(), false);
  for (const int scale : scales) {
    PlacedView view = place(scale, artefacts);
    used[view.artefact] = true;
    out.push_back(view);
    view.flip = true;
    if (flip) out.push_back(std::move(view));
  }
  for (std::size_t i = 1; i < artefacts.size(); ++i) {  // the first is the model itself, which has other uses
    if (!used[i]) {
      throw std::invalid_argument("scale_models: no scale runs on \"" + artefacts[i].given + "\" of " +
                                  size_text(artefacts[i].height, artefacts[i].width));
    }
  }
  return out;
}

}  // namespace yolort
