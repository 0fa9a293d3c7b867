// Device names as users write them.
#pragma once

#include <string>

namespace yolort {

/// The canonical name of a device: "" (the engine's default), "cpu", "cuda:N" for any spelling of GPU number N ("0",
/// "cuda", "gpu:0", "GPU.0"), "vulkan" or "vulkan:N". Other kinds of names are passed to the engine. Throws
/// std::invalid_argument for an invalid number and for several devices.
std::string canonical_device(const std::string& device);

/// N of a canonical "<kind>:N", 0 without a number; -1 for another kind.
int device_index(const std::string& device, const std::string& kind);

}  // namespace yolort
