// Execution providers: where ONNX Runtime computes.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "engines/onnxruntime/api.h"

namespace yolort::ort {

using ProviderOptions = std::map<std::string, std::string>;

/// A provider other than the CPU's.
struct Provider {
  const char* kind;        ///< of Options::device
  const char* name;        ///< ONNX Runtime's
  const char* short_name;  ///< for Api::append_provider
  const char* package;     ///< if it comes with a library of its own
  const char* place;       ///< the provider option that selects one of several devices; null: there is only one
};

/// Where a session runs.
struct Placement {
  const Provider* provider = nullptr;  ///< null: the CPU
  std::string place;                   ///< one of several devices: "1", "GPU.1"; empty: only one

  std::string device() const;  ///< as Detector::device() reports it: "cpu", "cuda:1", "openvino:GPU.1"
};

/// Reads a canonical device name. Throws std::invalid_argument.
Placement parse_placement(const std::string& device);

/// The devices that a library has providers for, the CPU first.
std::vector<std::string> provider_devices(const Api& api);

/// Adds the provider of a placement to session options. `library`: its name, for messages. Throws EngineError if the
/// library lacks the provider or the provider fails, and std::invalid_argument for options of the CPU, which has none.
void append_provider(const Api& api, SessionOptions* session, const Placement& placement, ProviderOptions options,
                     const std::string& library);

}  // namespace yolort::ort
