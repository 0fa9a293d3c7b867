// The functions of kernels.h and mask_kernels.h as kernels of a GPU. Their argument is a LaunchParams in the memory of
// the GPU.
#include "cuda/kernels.h"

#include "cuda/mask_kernels.h"

namespace yolort::cuda {
namespace {

struct ThreadBlock {
  template <class F>
  __device__ void each(int n, F f) const {
    for (int i = static_cast<int>(threadIdx.x); i < n; i += static_cast<int>(blockDim.x)) f(i);
    __syncthreads();
  }
  template <class F>
  __device__ void one(F f) const {
    if (threadIdx.x == 0) f();
  }
};

}  // namespace

/// One thread per pixel of the network input; z is the image.
extern "C" __global__ void yolort_letterbox(const LaunchParams* params) {
  letterbox_thread(*params, static_cast<int>(blockIdx.z), static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x),
                   static_cast<int>(blockIdx.y * blockDim.y + threadIdx.y));
}

/// One thread per cell, or per row of end2end; y is the image.
extern "C" __global__ void yolort_decode(const LaunchParams* params) {
  decode_thread(*params, static_cast<int>(blockIdx.y), static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x));
}

/// One block per image.
extern "C" __global__ void __launch_bounds__(1024) yolort_select(const LaunchParams* params) {
  select_block(*params, static_cast<int>(blockIdx.x), ThreadBlock());
}

/// One thread per value of a grid; y is the mask.
extern "C" __global__ void yolort_mask_grid(const LaunchParams* params) {
  mask_grid_thread(*params, static_cast<int>(blockIdx.y), static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x));
}

/// One thread per byte of a mask; y is the mask.
extern "C" __global__ void yolort_mask_bits(const LaunchParams* params) {
  mask_bits_thread(*params, static_cast<int>(blockIdx.y), static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x));
}

}  // namespace yolort::cuda
