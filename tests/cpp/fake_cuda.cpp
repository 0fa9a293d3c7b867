// A libcuda.so.1 without a GPU: its memory is the host's, and its kernels are the functions of cuda/kernels.h and
// cuda/mask_kernels.h, run at once. Tests find it with LD_LIBRARY_PATH. Work captured into a graph runs when the graph
// is launched.
#include "fake_cuda.h"

#include <cuda.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "cuda/kernels.h"
#include "cuda/mask_kernels.h"

#define FAKE extern "C" __attribute__((visibility("default"))) CUresult

namespace {

FakeCuda state;
std::mutex mutex;
std::map<std::uintptr_t, std::pair<std::size_t, CUmemorytype>> allocations;

using Work = std::function<void()>;
struct Stream {
  std::vector<Work>* capturing = nullptr;
};
struct Graph {
  std::vector<Work> work;
};

Stream* of(CUstream stream) { return reinterpret_cast<Stream*>(stream); }

CUresult queue(CUstream stream, Work work) {
  if (Stream* to = of(stream); to->capturing) {
    to->capturing->push_back(std::move(work));
  } else {
    work();
  }
  return CUDA_SUCCESS;
}

CUresult allocate(void** out, std::size_t bytes, CUmemorytype type) {
  *out = std::malloc(bytes);
  std::memset(*out, 0xCD, bytes);
  const std::lock_guard lock(mutex);
  allocations[reinterpret_cast<std::uintptr_t>(*out)] = {bytes, type};
  ++state.allocations;
  return CUDA_SUCCESS;
}

CUresult release(void* data) {
  const std::lock_guard lock(mutex);
  if (!allocations.erase(reinterpret_cast<std::uintptr_t>(data))) return CUDA_ERROR_INVALID_VALUE;
  std::free(data);
  --state.allocations;
  return CUDA_SUCCESS;
}

/// A block whose threads take turns.
struct HostBlock {
  template <class F>
  void each(int n, F f) const {
    for (int i = 0; i < n; ++i) f(i);
  }
  template <class F>
  void one(F f) const {
    f();
  }
};

struct Kernel {
  const char* name;
  /// Calls the kernel for every thread of an x, y, z grid.
  void (*run)(const yolort::cuda::LaunchParams&, const unsigned* threads);
};

const Kernel kernels[] = {
    {"yolort_letterbox",
     [](const yolort::cuda::LaunchParams& params, const unsigned* threads) {
       for (int image = 0; image < static_cast<int>(threads[2]); ++image) {
         for (int y = 0; y < static_cast<int>(threads[1]); ++y) {
           for (int x = 0; x < static_cast<int>(threads[0]); ++x) yolort::cuda::letterbox_thread(params, image, x, y);
         }
       }
     }},
    {"yolort_decode",
     [](const yolort::cuda::LaunchParams& params, const unsigned* threads) {
       for (int image = 0; image < static_cast<int>(threads[1]); ++image) {
         for (int cell = static_cast<int>(threads[0]); cell-- > 0;) yolort::cuda::decode_thread(params, image, cell);
       }
     }},
    {"yolort_select",
     [](const yolort::cuda::LaunchParams& params, const unsigned* threads) {
       for (int image = 0; image < static_cast<int>(threads[0] / 1024); ++image) {
         yolort::cuda::select_block(params, image, HostBlock());
       }
     }},
    {"yolort_mask_grid",
     [](const yolort::cuda::LaunchParams& params, const unsigned* threads) {
       for (int mask = 0; mask < static_cast<int>(threads[1]); ++mask) {
         for (int i = 0; i < static_cast<int>(threads[0]); ++i) yolort::cuda::mask_grid_thread(params, mask, i);
       }
     }},
    {"yolort_mask_bits",
     [](const yolort::cuda::LaunchParams& params, const unsigned* threads) {
       for (int mask = 0; mask < static_cast<int>(threads[1]); ++mask) {
         for (int i = 0; i < static_cast<int>(threads[0]); ++i) yolort::cuda::mask_bits_thread(params, mask, i);
       }
     }},
};

}  // namespace

extern "C" __attribute__((visibility("default"))) FakeCuda* fake_cuda() { return &state; }

FAKE cuInit(unsigned) { return CUDA_SUCCESS; }
FAKE cuGetErrorString(CUresult, const char** text) {
  *text = "as asked";
  return CUDA_SUCCESS;
}
FAKE cuDriverGetVersion(int* version) {
  *version = 13000;
  return CUDA_SUCCESS;
}
FAKE cuDeviceGetCount(int* count) {
  *count = 2;
  return CUDA_SUCCESS;
}
FAKE cuDeviceGet(CUdevice* device, int index) {
  *device = index;
  return CUDA_SUCCESS;
}
FAKE cuDeviceGetName(char* name, int size, CUdevice) {
  std::strncpy(name, "Fake", static_cast<std::size_t>(size));
  return CUDA_SUCCESS;
}
FAKE cuDeviceGetAttribute(int* value, CUdevice_attribute, CUdevice) {
  *value = 9;
  return CUDA_SUCCESS;
}
FAKE cuDevicePrimaryCtxRetain(CUcontext* context, CUdevice) {
  *context = reinterpret_cast<CUcontext>(&state);
  return CUDA_SUCCESS;
}
FAKE cuDevicePrimaryCtxRelease_v2(CUdevice) { return CUDA_SUCCESS; }
FAKE cuCtxPushCurrent_v2(CUcontext) { return CUDA_SUCCESS; }
FAKE cuCtxPopCurrent_v2(CUcontext*) { return CUDA_SUCCESS; }

FAKE cuMemAlloc_v2(CUdeviceptr* out, std::size_t bytes) {
  void* data = nullptr;
  const CUresult result = allocate(&data, bytes, CU_MEMORYTYPE_DEVICE);
  *out = reinterpret_cast<CUdeviceptr>(data);
  return result;
}
FAKE cuMemFree_v2(CUdeviceptr data) { return release(reinterpret_cast<void*>(data)); }
FAKE cuMemHostAlloc(void** out, std::size_t bytes, unsigned) { return allocate(out, bytes, CU_MEMORYTYPE_HOST); }
FAKE cuMemFreeHost(void* data) { return release(data); }
FAKE cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void* from, std::size_t bytes, CUstream stream) {
  return queue(stream, [=] { std::memcpy(reinterpret_cast<void*>(to), from, bytes); });
}
FAKE cuMemcpyDtoHAsync_v2(void* to, CUdeviceptr from, std::size_t bytes, CUstream stream) {
  ++state.copies_to_host;
  return queue(stream, [=] { std::memcpy(to, reinterpret_cast<void*>(from), bytes); });
}
FAKE cuPointerGetAttribute(void* out, CUpointer_attribute attribute, CUdeviceptr pointer) {
  const std::lock_guard lock(mutex);
  auto found = allocations.upper_bound(static_cast<std::uintptr_t>(pointer));
  if (found == allocations.begin()) return CUDA_ERROR_INVALID_VALUE;
  --found;
  if (pointer >= found->first + found->second.first) return CUDA_ERROR_INVALID_VALUE;
  if (attribute == CU_POINTER_ATTRIBUTE_MEMORY_TYPE) {
    std::memcpy(out, &found->second.second, sizeof(CUmemorytype));
  } else {
    std::memcpy(out, &state.ordinal, sizeof(int));
  }
  return CUDA_SUCCESS;
}

FAKE cuStreamCreate(CUstream* stream, unsigned) {
  *stream = reinterpret_cast<CUstream>(new Stream);
  return CUDA_SUCCESS;
}
FAKE cuStreamDestroy_v2(CUstream stream) {
  delete of(stream);
  return CUDA_SUCCESS;
}
FAKE cuStreamSynchronize(CUstream) { return CUDA_SUCCESS; }
FAKE cuStreamWaitEvent(CUstream, CUevent, unsigned) {
  ++state.waits;
  return CUDA_SUCCESS;
}
FAKE cuEventCreate(CUevent* event, unsigned) {
  *event = reinterpret_cast<CUevent>(new int);
  return CUDA_SUCCESS;
}
FAKE cuEventDestroy_v2(CUevent event) {
  delete reinterpret_cast<int*>(event);
  return CUDA_SUCCESS;
}
FAKE cuEventRecordWithFlags(CUevent, CUstream stream, unsigned flags) {
  // Within a graph, events used for timing must be recorded as external.
  const bool external = flags == CU_EVENT_RECORD_EXTERNAL;
  return external == (of(stream)->capturing != nullptr) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}
FAKE cuEventElapsedTime_v2(float* ms, CUevent, CUevent) {
  *ms = 0.5f;
  return CUDA_SUCCESS;
}
#undef cuEventElapsedTime
FAKE cuEventElapsedTime(float* ms, CUevent a, CUevent b) { return cuEventElapsedTime_v2(ms, a, b); }

FAKE cuModuleLoadData(CUmodule* module, const void* image) {
  constexpr unsigned char magic[] = {0x50, 0xED, 0x55, 0xBA};  // magic number of a fat binary
  if (state.refuse_module || std::memcmp(image, magic, 4) != 0) return CUDA_ERROR_NO_BINARY_FOR_GPU;
  *module = reinterpret_cast<CUmodule>(&state);
  return CUDA_SUCCESS;
}
FAKE cuModuleUnload(CUmodule) { return CUDA_SUCCESS; }
FAKE cuModuleGetFunction(CUfunction* function, CUmodule, const char* name) {
  for (const Kernel& kernel : kernels) {
    if (std::strcmp(kernel.name, name) != 0) continue;
    *function = reinterpret_cast<CUfunction>(const_cast<Kernel*>(&kernel));
    return CUDA_SUCCESS;
  }
  return CUDA_ERROR_NOT_FOUND;
}
FAKE cuLaunchKernel(CUfunction function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                    unsigned block_y, unsigned block_z, unsigned, CUstream stream, void** arguments, void**) {
  const auto* kernel = reinterpret_cast<const Kernel*>(function);
  if (block_x * block_y * block_z > 1024 || !grid_x || !grid_y || !grid_z) return CUDA_ERROR_INVALID_VALUE;
  const auto* params = *static_cast<yolort::cuda::LaunchParams**>(arguments[0]);
  const std::array<unsigned, 3> threads = {grid_x * block_x, grid_y * block_y, grid_z * block_z};
  return queue(stream, [=] { kernel->run(*params, threads.data()); });
}

FAKE cuStreamBeginCapture_v2(CUstream stream, CUstreamCaptureMode mode) {
  if (mode != CU_STREAM_CAPTURE_MODE_THREAD_LOCAL || of(stream)->capturing) return CUDA_ERROR_INVALID_VALUE;
  of(stream)->capturing = new std::vector<Work>;
  return CUDA_SUCCESS;
}
FAKE cuStreamEndCapture(CUstream stream, CUgraph* out) {
  std::vector<Work>* work = of(stream)->capturing;
  of(stream)->capturing = nullptr;
  if (!work) return CUDA_ERROR_INVALID_VALUE;
  *out = state.refuse_capture ? nullptr : reinterpret_cast<CUgraph>(new Graph{*work});
  delete work;
  return state.refuse_capture ? CUDA_ERROR_STREAM_CAPTURE_INVALIDATED : CUDA_SUCCESS;
}
FAKE cuGraphInstantiateWithFlags(CUgraphExec* out, CUgraph graph, unsigned long long) {
  *out = reinterpret_cast<CUgraphExec>(new Graph(*reinterpret_cast<Graph*>(graph)));
  return CUDA_SUCCESS;
}
FAKE cuGraphLaunch(CUgraphExec graph, CUstream) {
  ++state.graph_launches;
  for (const Work& work : reinterpret_cast<Graph*>(graph)->work) work();
  return CUDA_SUCCESS;
}
FAKE cuGraphDestroy(CUgraph graph) {
  delete reinterpret_cast<Graph*>(graph);
  return CUDA_SUCCESS;
}
FAKE cuGraphExecDestroy(CUgraphExec graph) {
  delete reinterpret_cast<Graph*>(graph);
  return CUDA_SUCCESS;
}
