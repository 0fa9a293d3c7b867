// What OpenVINO calls devices, what they compute in, and how a model is compiled for them.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "yolort/yolort.h"

namespace yolort::openvino {

/// OpenVINO's name of a device: "CPU" by default, "GPU.1" of "cuda:1" (which is the core's name of any GPU), "NPU",
/// "AUTO", "HETERO:GPU,CPU". `available` lists those here, and is not called for the CPU. Throws EngineError.
std::string device_name(const std::string& device, const std::function<std::vector<std::string>()>& available);

/// The value of INFERENCE_PRECISION_HINT. Throws std::invalid_argument for what is no precision of OpenVINO.
std::string precision_hint(const std::string& precision);

/// The properties of a model to compile, key and value in turn. `cores`: those of this process.
std::vector<std::string> settings_for(const Options& options, const std::string& device, int cores);

/// The precisions that a device computes in itself, of its OPTIMIZATION_CAPABILITIES ("FP32 INT8 BF16").
std::vector<std::string> precisions_in(const std::string& capabilities);

/// The precision that a model runs in. `devices` are those that run it (EXECUTION_DEVICES), `hint` the model's own
/// INFERENCE_PRECISION_HINT; empty if it does not say. Throws EngineError if the precision asked for is not one of each
/// device's own, for which OpenVINO would take another and not say so.
std::string precision_that_runs(const std::string& asked, const std::string& devices, const std::string& hint,
                                const std::function<std::string(const std::string& device)>& capabilities);

}  // namespace yolort::openvino
