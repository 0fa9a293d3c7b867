// Functions other than detection, for the tools and the package.
#include <pybind11/stl.h>
#include <pybind11/stl/filesystem.h>

#include <filesystem>
#include <tuple>

#include "bindings.h"
#include "core/engine.h"
#include "core/tuning.h"
#include "ops/decode.h"
#include "ops/simd/kernels.h"
#include "platform/device_name.h"
#include "platform/dynamic_library.h"

namespace yolort::bindings {
namespace {

namespace fs = std::filesystem;

/// The engines that read the model: name, why it cannot run here ("" if it can), and the precisions worth measuring on
/// the device (empty if the engine does not have that device).
std::vector<std::tuple<std::string, std::string, std::vector<std::string>>> candidates(const fs::path& model,
                                                                                       const std::string& device) {
  std::vector<std::tuple<std::string, std::string, std::vector<std::string>>> out;
  py::gil_scoped_release release;
  const ModelSpec spec = read_model(model.string());
  const std::string wanted = canonical_device(device);
  const auto precisions = [&](const EngineEntry& entry) -> std::vector<std::string> {
    try {
      return entry.precisions(wanted);
    } catch (const EngineError&) {
      return {};
    } catch (const std::invalid_argument&) {
      return {};
    }
  };
  for (const EngineEntry& entry : all_engines()) {
    if (!entry.accepts(spec)) continue;
    const std::string reason = entry.unavailable();
    out.emplace_back(entry.name, reason, reason.empty() ? precisions(entry) : std::vector<std::string>());
  }
  return out;
}

/// Distances of the box sides (n, 4, height, width) of the box maps of a raw head, (n, 4 * reg_max, height, width).
py::array_t<float> box_sides(const py::array_t<float, py::array::c_style | py::array::forcecast>& maps, int reg_max) {
  if (reg_max < 1 || maps.ndim() != 4 || maps.shape(1) != 4 * static_cast<py::ssize_t>(reg_max)) {
    throw std::invalid_argument("maps: expected shape (n, 4 * " + std::to_string(reg_max) + ", height, width), got " +
                                std::string(py::str(maps.attr("shape"))));
  }
  py::array_t<float> out({maps.shape(0), py::ssize_t{4}, maps.shape(2), maps.shape(3)});
  const py::ssize_t cells = maps.shape(2) * maps.shape(3), rows = maps.shape(0) * 4;
  const float* bins = maps.data();
  float* sides = out.mutable_data();
  py::gil_scoped_release release;
  for (py::ssize_t row = 0; row < rows; ++row, bins += reg_max * cells) {
    for (py::ssize_t cell = 0; cell < cells; ++cell) *sides++ = box_side(bins + cell, cells, reg_max);
  }
  return out;
}

}  // namespace

void register_toolchain(py::module_& m) {
  m.def("max_threads", &max_threads);
  m.def("canonical_device", &canonical_device, py::arg("given"));
  m.def("device_index", &device_index, py::arg("device"), py::arg("kind"));
  m.def("add_package_folder", [](const fs::path& folder) { add_package_folder(folder); }, py::arg("folder"));
  m.def("candidates", &candidates, py::arg("model"), py::arg("device") = "");
  m.def("machine", &machine);
  m.def("tuning_paths", [](const fs::path& model) { return tuning_paths(model.string()); }, py::arg("model"));
  m.def("model_bytes", [](const fs::path& model) { return model_bytes(read_model(model.string())); }, py::arg("model"));
  m.def(
      "model_task", [](const fs::path& model) { return to_text(read_model(model.string()).layout.task); },
      py::arg("model"));
  m.def("box_sides", &box_sides, py::arg("maps"), py::arg("reg_max"));
  m.def("simd", [] { return kernels().name; });
}

}  // namespace yolort::bindings
