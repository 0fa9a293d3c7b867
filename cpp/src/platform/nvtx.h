// Ranges for Nsight Systems; no-ops if the build had no CUDA headers or no profiler runs.
#pragma once

#if __has_include(<nvtx3/nvToolsExt.h>)
#include <nvtx3/nvToolsExt.h>
#define YOLORT_NVTX 1
#endif

namespace yolort {

/// A range from here to the end of the scope.
class NvtxRange {
 public:
#ifdef YOLORT_NVTX
  explicit NvtxRange(const char* name) { nvtxRangePushA(name); }
  ~NvtxRange() { nvtxRangePop(); }
#else
  explicit NvtxRange(const char*) {}
  ~NvtxRange() {}
#endif
  NvtxRange(const NvtxRange&) = delete;
  NvtxRange& operator=(const NvtxRange&) = delete;
};

}  // namespace yolort
