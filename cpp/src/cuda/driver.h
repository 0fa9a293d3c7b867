// The CUDA driver (libcuda.so.1), opened at run time: it comes with the GPU's driver and needs no toolkit.
#pragma once

#include <cuda.h>

#include <cstddef>
#include <memory>
#include <string>

namespace yolort {

/// Functions of the driver API, without their prefix.
struct Cuda {
  /// Opened at the first call. Throws EngineError.
  static const Cuda& get();
  /// Why it cannot be used here; empty: it can.
  static std::string unavailable();

  /// Throws EngineError if a call of the driver failed.
  void check(CUresult result, const char* what) const;

#define YOLORT_CUDA_FUNCTIONS(X)                    \
  X(init, cuInit)                                   \
  X(error_string, cuGetErrorString)                 \
  X(driver_version, cuDriverGetVersion)             \
  X(device_count, cuDeviceGetCount)                 \
  X(device_get, cuDeviceGet)                        \
  X(device_name, cuDeviceGetName)                   \
  X(device_attribute, cuDeviceGetAttribute)         \
  X(context_retain, cuDevicePrimaryCtxRetain)       \
  X(context_release, cuDevicePrimaryCtxRelease_v2)  \
  X(context_push, cuCtxPushCurrent_v2)              \
  X(context_pop, cuCtxPopCurrent_v2)                \
  X(allocate, cuMemAlloc_v2)                        \
  X(release, cuMemFree_v2)                          \
  X(allocate_host, cuMemHostAlloc)                  \
  X(release_host, cuMemFreeHost)                    \
  X(to_device, cuMemcpyHtoDAsync_v2)                \
  X(to_host, cuMemcpyDtoHAsync_v2)                  \
  X(stream_create, cuStreamCreate)                  \
  X(stream_destroy, cuStreamDestroy_v2)             \
  X(stream_synchronize, cuStreamSynchronize)        \
  X(stream_wait, cuStreamWaitEvent)                 \
  X(event_create, cuEventCreate)                    \
  X(event_destroy, cuEventDestroy_v2)               \
  X(event_record, cuEventRecordWithFlags)           \
  X(event_elapsed, cuEventElapsedTime)              \
  X(pointer_attribute, cuPointerGetAttribute)       \
  X(module_load, cuModuleLoadData)                  \
  X(module_unload, cuModuleUnload)                  \
  X(module_function, cuModuleGetFunction)           \
  X(launch, cuLaunchKernel)                         \
  X(capture_begin, cuStreamBeginCapture_v2)         \
  X(capture_end, cuStreamEndCapture)                \
  X(graph_instantiate, cuGraphInstantiateWithFlags) \
  X(graph_launch, cuGraphLaunch)                    \
  X(graph_destroy, cuGraphDestroy)                  \
  X(graph_exec_destroy, cuGraphExecDestroy)

#define YOLORT_CUDA_MEMBER(name, symbol) decltype(&::symbol) name = nullptr;
  YOLORT_CUDA_FUNCTIONS(YOLORT_CUDA_MEMBER)
#undef YOLORT_CUDA_MEMBER
};

/// A GPU with its primary context, which the CUDA runtime, and so TensorRT and torch, use as well.
class CudaDevice {
 public:
  /// Throws EngineError if there is no such device.
  explicit CudaDevice(int index);
  ~CudaDevice();
  CudaDevice(const CudaDevice&) = delete;
  CudaDevice& operator=(const CudaDevice&) = delete;

  int index() const { return index_; }
  /// Such as "NVIDIA H100, compute 9.0".
  const std::string& description() const { return description_; }

  /// Makes the context current in the calling thread during its lifetime. A failure is reported by the next driver
  /// call, so that destructors can use this class, too.
  class ContextGuard {
   public:
    explicit ContextGuard(const CudaDevice& device) noexcept;
    ~ContextGuard();
    ContextGuard(const ContextGuard&) = delete;
    ContextGuard& operator=(const ContextGuard&) = delete;

   private:
    bool pushed_;
  };

 private:
  int index_;
  CUdevice device_ = 0;
  CUcontext context_ = nullptr;
  std::string description_;
};

/// Device memory or pinned host memory; empty at first.
class CudaBuffer {
 public:
  enum class Place { device, host };

  CudaBuffer(std::shared_ptr<const CudaDevice> device, Place place) : device_(std::move(device)), place_(place) {}
  ~CudaBuffer() { free(); }
  CudaBuffer(CudaBuffer&& other) noexcept
      : device_(std::move(other.device_)), place_(other.place_), data_(other.data_), bytes_(other.bytes_) {
    other.data_ = nullptr;
    other.bytes_ = 0;
  }
  CudaBuffer& operator=(CudaBuffer&&) = delete;

  /// Makes room for this many bytes; the contents are lost if it grows.
  void reserve(std::size_t bytes);
  void* data() const { return data_; }
  CUdeviceptr address() const { return reinterpret_cast<CUdeviceptr>(data_); }

 private:
  void free();

  std::shared_ptr<const CudaDevice> device_;
  Place place_;
  void* data_ = nullptr;
  std::size_t bytes_ = 0;
};

}  // namespace yolort
