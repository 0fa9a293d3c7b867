// TensorRT: libraries found at run time, and code compiled once per version of the headers.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "core/engine.h"

namespace yolort {

/// An opened libnvinfer, or its lean or dispatch runtime.
struct TensorrtLibrary {
  void* (*create_runtime)(void* logger, std::int32_t version) = nullptr;
  int major = 0;
  std::int32_t number = 0;  ///< as the library reports it: 8601, 101601
  std::string version;      ///< such as "10.16.1"
  std::string name;         ///< the file that was opened
};

/// Loads a plan of `size` bytes with the headers of one major version (runtime.cpp). Throws EngineError, ModelError.
using TensorrtLoad = std::unique_ptr<Engine>(const TensorrtLibrary&, const ModelSpec&, const Options&, const void* plan,
                                             std::size_t size);
TensorrtLoad load_tensorrt_8, load_tensorrt_10, load_tensorrt_11;

/// How to build a plan from an ONNX file.
struct TensorrtBuild {
  std::string onnx;                  ///< path
  std::string device;                ///< "", "cuda:1"
  bool fp16 = false;                 ///< layers may compute in FP16
  std::string onnx_fp16;             ///< path of the same model in FP16, which TensorRT 11 needs instead of `fp16`
  bool int8 = false;                 ///< the file has Q/DQ, which TensorRT up to 10 refuses unless this is set
  std::string calibration;           ///< contents of a calibration cache, for INT8 without Q/DQ; up to TensorRT 10
  std::size_t workspace_mib = 0;     ///< maximum per layer; 0: all GPU memory
  std::string timing_cache;          ///< timing cache of an earlier build, which speeds up this one; may be empty
  bool version_compatible = false;   ///< later versions of TensorRT can run it, slower
  bool hardware_compatible = false;  ///< other GPUs from Ampere on can run it, slower
  int level = -1;                    ///< optimization level, 0 to 5; -1: TensorRT's default
  /// Minimum, typical and maximum batch, height and width of a dynamic model.
  std::array<std::array<int, 3>, 3> sizes{};
  /// Called for each step of each phase, from TensorRT 10 on; false ends the build. May be empty.
  std::function<bool(const std::string& phase, int step, int steps)> progress;
};

struct TensorrtPlan {
  std::string bytes, timing_cache, version;
};

/// Builds with the newest installed TensorRT. Throws EngineError, or ModelError if TensorRT refuses the model.
TensorrtPlan build_tensorrt(const TensorrtBuild& build);

/// A library with its builder and the matching ONNX parser.
struct TensorrtBuilderLibrary {
  void* (*create_builder)(void* logger, std::int32_t version) = nullptr;
  void* (*create_parser)(void* network, void* logger, int version) = nullptr;
  std::int32_t number = 0;
  std::string version;
};
using TensorrtBuildWith = TensorrtPlan(const TensorrtBuilderLibrary&, const TensorrtBuild&);
TensorrtBuildWith build_tensorrt_8, build_tensorrt_10, build_tensorrt_11;

/// The version that built a plan, such as "8.6.1"; empty if its first bytes do not say. They are bytes 24 to 26:
/// https://github.com/NVIDIA/TensorRT/issues/3073
std::string plan_version(const unsigned char* plan, std::size_t size);

/// The number of "cuda:1", 0 for none. Throws std::invalid_argument.
int parse_cuda_device(const std::string& device);

EngineEntry tensorrt_engine();

}  // namespace yolort
