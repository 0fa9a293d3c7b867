// OpenVINO's device names, the precisions of devices, and the properties to compile a model with.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "yolort/yolort.h"

namespace yolort::openvino {

/// OpenVINO's name of a device: "CPU" by default, "GPU.1" for "cuda:1" (the core's name for any GPU), "NPU",
/// "AUTO", "HETERO:GPU,CPU". `available` lists those here, and is not called for the CPU. Throws EngineError.
std::string device_name(const std::string& device, const std::function<std::vector<std::string>()>& available);

/// The value of INFERENCE_PRECISION_HINT. Throws std::invalid_argument for a precision that OpenVINO does not have.
std::string precision_hint(const std::string& precision);

/// The properties to compile a model with, as alternating keys and values. `cores`: number of cores of this process.
std::vector<std::string> settings_for(const Options& options, const std::string& device, int cores);

/// The precisions that a device supports natively, from its OPTIMIZATION_CAPABILITIES ("FP32 INT8 BF16").
std::vector<std::string> precisions_in(const std::string& capabilities);

/// The precision that a model runs in. `devices` run it (EXECUTION_DEVICES); `hint` is the model's
/// INFERENCE_PRECISION_HINT, empty if unknown. Throws EngineError if a device does not support the requested precision
/// natively, because OpenVINO would silently use another one.
std::string precision_that_runs(const std::string& asked, const std::string& devices, const std::string& hint,
                                const std::function<std::string(const std::string& device)>& capabilities);

}  // namespace yolort::openvino
