// Layout of the buffers that the host fills for a GPU.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/engine.h"
#include "cuda/driver.h"
#include "cuda/params.h"

namespace yolort {

/// Rounds a number of bytes up so that any type may follow.
constexpr std::size_t aligned(std::size_t bytes) {
  constexpr std::size_t alignment = 256;
  return (bytes + alignment - 1) / alignment * alignment;
}

template <class T>
T* at(const CudaBuffer& buffer, std::size_t offset) {
  return reinterpret_cast<T*>(static_cast<unsigned char*>(buffer.data()) + offset);
}

/// Number of blocks needed for `n` threads.
inline unsigned blocks(std::int64_t n, unsigned block) {
  return static_cast<unsigned>((n + static_cast<std::int64_t>(block) - 1) / block);
}

/// An output of the network, as kernels read it.
inline cuda::Map map_of(const Tensor& tensor) {
  int cells = 1;
  for (std::size_t d = 2; d < tensor.shape.size(); ++d) cells *= tensor.shape[d];
  return {tensor.data, tensor.type == Type::f16, tensor.shape[1], cells};
}

}  // namespace yolort
