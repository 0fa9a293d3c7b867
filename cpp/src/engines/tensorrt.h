// TensorRT: what is found at run time, and what is compiled once for each version of its headers.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "engine.h"

namespace yolort {

/// An opened libnvinfer, or its lean or dispatch runtime.
struct TensorrtLibrary {
  void* (*create_runtime)(void* logger, std::int32_t version) = nullptr;
  int major = 0;
  std::int32_t number = 0;  ///< as the library tells it: 8601, 101601
  std::string version;      ///< such as "10.16.1"
  std::string name;         ///< the file that was opened
};

/// Loads a plan, `size` bytes, with headers of one major version (tensorrt_runtime.cpp). Throws EngineError,
/// ModelError.
using TensorrtLoad = std::unique_ptr<Engine>(const TensorrtLibrary&, const ModelSpec&, const Options&, const void* plan,
                                             std::size_t size);
TensorrtLoad load_tensorrt_8, load_tensorrt_10, load_tensorrt_11;

/// The version that built a plan, such as "8.6.1"; empty where its first bytes do not tell. They are bytes 24 to 26:
/// https://github.com/NVIDIA/TensorRT/issues/3073
std::string plan_version(const unsigned char* plan, std::size_t size);

/// The number of "cuda:1", 0 for none. Throws std::invalid_argument.
int parse_cuda_device(const std::string& device);

EngineEntry tensorrt_engine();

}  // namespace yolort
