// Headers of TensorRT, compiled once for each major version (YOLORT_TENSORRT_MAJOR). Their classes have the same names
// but different layouts, so each version has its own namespace.
#pragma once

#define YOLORT_JOIN_(a, b) a##b
#define YOLORT_JOIN(a, b) YOLORT_JOIN_(a, b)
#define nvinfer1 YOLORT_JOIN(nvinfer_, YOLORT_TENSORRT_MAJOR)
#define nvonnxparser YOLORT_JOIN(nvonnxparser_, YOLORT_TENSORRT_MAJOR)
#include <NvInfer.h>
#include <NvOnnxParser.h>

#include <mutex>
#include <string>
#include <utility>

static_assert(NV_TENSORRT_MAJOR == YOLORT_TENSORRT_MAJOR, "headers of another version than CMake found");

namespace yolort {
namespace {

namespace trt = nvinfer1;

/// Keeps TensorRT's last error for exceptions, or its last warning, because TensorRT reports a failing CUDA start as a
/// warning.
class Logger final : public trt::ILogger {
 public:
  void log(Severity severity, const char* text) noexcept override {
    if (severity > Severity::kWARNING) return;
    try {
      std::lock_guard lock(mutex_);
      if (severity == Severity::kWARNING && error_) return;
      error_ = severity < Severity::kWARNING;
      said_ = std::string(text).substr(0, 2000);
    } catch (...) {  // out of memory: no message
    }
  }
  /// Returns the message as the end of a sentence, and clears it.
  std::string take() {
    std::lock_guard lock(mutex_);
    error_ = false;
    return said_.empty() ? "" : ". TensorRT says: " + std::exchange(said_, {});
  }

 private:
  std::mutex mutex_;
  std::string said_;
  bool error_ = false;
};

}  // namespace
}  // namespace yolort
