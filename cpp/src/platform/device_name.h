// Where a model runs, as users write it.
#pragma once

#include <string>

namespace yolort {

/// One spelling of each device: "" (the engine's default), "cpu", "cuda:N" for the GPU of that number however it was
/// written ("0", "cuda", "gpu:0", "GPU.0"), "vulkan" or "vulkan:N"; any other kind stays, for the engine to refuse or
/// know. Throws std::invalid_argument for a number that is none, and for several devices.
std::string canonical_device(const std::string& given);

/// N of "<kind>:N" in canonical form, 0 without a number; -1 for another kind.
int device_index(const std::string& device, const std::string& kind);

}  // namespace yolort
