// Builds TensorRT engines.
#include <pybind11/functional.h>
#include <pybind11/stl.h>

#include <array>
#include <atomic>
#include <chrono>
#include <functional>
#include <future>
#include <tuple>

#include "bindings.h"
#ifdef YOLORT_TENSORRT
#include "engines/tensorrt/engine.h"
#endif

namespace yolort::bindings {
namespace {

/// See TensorrtBuild. `progress(phase, step, steps)` returns False to end the build. Returns plan, timing cache and
/// version.
std::tuple<py::bytes, py::bytes, std::string> build_engine(
    const std::string& onnx, const std::string& onnx_fp16, bool int8, const std::string& device,
    const py::bytes& calibration, std::size_t workspace_mib, const py::bytes& timing_cache, bool version_compatible,
    bool hardware_compatible, int level, const std::array<std::array<int, 3>, 3>& sizes,
    const std::function<bool(const std::string&, int, int)>& progress) {
#ifdef YOLORT_TENSORRT
  TensorrtBuild build;
  build.onnx = onnx;
  build.onnx_fp16 = onnx_fp16;
  build.fp16 = !onnx_fp16.empty();
  build.int8 = int8;
  build.device = device;
  build.calibration = calibration;
  build.workspace_mib = workspace_mib;
  build.timing_cache = timing_cache;
  build.version_compatible = version_compatible;
  build.hardware_compatible = hardware_compatible;
  build.level = level;
  build.sizes = sizes;
  // The build runs in another thread, so that this one can handle Ctrl-C, which cancels the build.
  std::atomic<bool> ended = false;
  build.progress = [&](const std::string& phase, int step, int steps) {
    if (!ended && progress) {
      py::gil_scoped_acquire gil;
      return progress(phase, step, steps);
    }
    return !ended;
  };
  std::future<TensorrtPlan> running = std::async(std::launch::async, [&] { return build_tensorrt(build); });
  const auto wait = [&](std::chrono::milliseconds time) {
    py::gil_scoped_release release;
    return running.wait_for(time) == std::future_status::ready;
  };
  while (!wait(std::chrono::milliseconds(100))) {
    if (PyErr_CheckSignals() == 0) continue;
    ended = true;
    py::error_already_set error;
    py::gil_scoped_release release;
    running.wait();
    throw error;
  }
  const TensorrtPlan plan = running.get();
  return {py::bytes(plan.bytes), py::bytes(plan.timing_cache), plan.version};
#else
  (void)onnx, (void)onnx_fp16, (void)int8, (void)device, (void)calibration, (void)workspace_mib, (void)timing_cache;
  (void)version_compatible, (void)hardware_compatible, (void)level, (void)sizes, (void)progress;
  for (const EngineStatus& status : engines()) {
    if (status.name == "tensorrt") throw EngineError(status.reason);
  }
  throw EngineError("this build does not include TensorRT; see docs/guide/tensorrt.md");
#endif
}

}  // namespace

void register_tensorrt_build(py::module_& m) {
  m.def("build_engine", &build_engine, py::arg("onnx"), py::kw_only(), py::arg("onnx_fp16") = "",
        py::arg("int8") = false, py::arg("device") = "", py::arg("calibration") = py::bytes(),
        py::arg("workspace_mib") = 0, py::arg("timing_cache") = py::bytes(), py::arg("version_compatible") = false,
        py::arg("hardware_compatible") = false, py::arg("level") = -1, py::arg("sizes"), py::arg("progress") = nullptr);
}

}  // namespace yolort::bindings
