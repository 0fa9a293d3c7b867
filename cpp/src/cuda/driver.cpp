#include "cuda/driver.h"

#include "platform/dynamic_library.h"
#include "yolort/yolort.h"

namespace yolort {
namespace {

struct Opened {
  Cuda cuda;
  std::string failure;
};

Opened open_driver() {
  Opened out;
  void* library = open_library("libcuda.so.1");
  if (!library) {
    out.failure = "no NVIDIA driver is installed (libcuda.so.1 is not found)";
    return out;
  }
#define YOLORT_CUDA_OPEN(name, symbol)                                                    \
  out.cuda.name = reinterpret_cast<decltype(&::symbol)>(find_function(library, #symbol)); \
  if (!out.cuda.name) out.failure = "the NVIDIA driver lacks " #symbol "; it is too old";
  YOLORT_CUDA_FUNCTIONS(YOLORT_CUDA_OPEN)
#undef YOLORT_CUDA_OPEN
  if (!out.failure.empty()) return out;
  int count = 0;
  const CUresult result = out.cuda.init(0);
  if (result != CUDA_SUCCESS) {
    const char* text = nullptr;
    out.cuda.error_string(result, &text);
    out.failure = std::string("the NVIDIA driver does not start: ") + (text ? text : "unknown error");
  } else if (out.cuda.device_count(&count) != CUDA_SUCCESS || count == 0) {
    out.failure = "the NVIDIA driver sees no GPU";
  }
  return out;
}

const Opened& opened() {
  static const Opened instance = open_driver();
  return instance;
}

}  // namespace

const Cuda& Cuda::get() {
  if (!opened().failure.empty()) throw EngineError(opened().failure);
  return opened().cuda;
}

std::string Cuda::unavailable() { return opened().failure; }

void Cuda::check(CUresult result, const char* what) const {
  if (result == CUDA_SUCCESS) return;
  const char* text = nullptr;
  error_string(result, &text);
  throw EngineError(std::string("CUDA: ") + what + ": " + (text ? text : "unknown error"));
}

CudaDevice::CudaDevice(int index) : index_(index) {
  const Cuda& cuda = Cuda::get();
  int count = 0, major = 0, minor = 0;
  cuda.check(cuda.device_count(&count), "counting the GPUs");
  if (index < 0 || index >= count) {
    throw EngineError("there are " + std::to_string(count) + " NVIDIA GPUs here, but no cuda:" + std::to_string(index));
  }
  cuda.check(cuda.device_get(&device_, index), "finding the GPU");
  char name[256] = {};
  cuda.check(cuda.device_name(name, sizeof name, device_), "naming the GPU");
  cuda.check(cuda.device_attribute(&major, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, device_), "asking the GPU");
  cuda.check(cuda.device_attribute(&minor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, device_), "asking the GPU");
  description_ = std::string(name) + ", compute " + std::to_string(major) + "." + std::to_string(minor);
  cuda.check(cuda.context_retain(&context_, device_), "opening the GPU");
}

CudaDevice::~CudaDevice() { Cuda::get().context_release(device_); }

CudaDevice::ContextGuard::ContextGuard(const CudaDevice& device) noexcept
    : pushed_(Cuda::get().context_push(device.context_) == CUDA_SUCCESS) {}

CudaDevice::ContextGuard::~ContextGuard() {
  CUcontext before = nullptr;
  if (pushed_) Cuda::get().context_pop(&before);
}

void CudaBuffer::reserve(std::size_t bytes) {
  if (bytes <= bytes_) return;
  free();
  const Cuda& cuda = Cuda::get();
  const CudaDevice::ContextGuard guard(*device_);
  if (place_ == Place::host) {
    cuda.check(cuda.allocate_host(&data_, bytes, CU_MEMHOSTALLOC_PORTABLE), "pinned memory");
  } else {
    CUdeviceptr address = 0;
    cuda.check(cuda.allocate(&address, bytes), "memory of the GPU");
    data_ = reinterpret_cast<void*>(address);
  }
  bytes_ = bytes;
}

void CudaBuffer::free() {
  if (!data_) return;
  const Cuda& cuda = Cuda::get();
  const CudaDevice::ContextGuard guard(*device_);
  if (place_ == Place::host) {
    cuda.release_host(data_);
  } else {
    cuda.release(address());
  }
  data_ = nullptr;
  bytes_ = 0;
}

}  // namespace yolort
