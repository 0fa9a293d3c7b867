// Features of the processor.
#pragma once

namespace yolort {

#if defined(__x86_64__)
inline constexpr bool is_x86 = true;
#else
inline constexpr bool is_x86 = false;
#endif

/// The number of cores this process may run on (its affinity), 1 or more.
int available_cores();

/// Whether it multiplies bf16 itself (AVX512-BF16, AMX-BF16, or BF16 of ARM), which makes bf16 faster than fp32.
/// $ONEDNN_MAX_CPU_ISA, with which OpenVINO's kernels can be limited to older processors, counts.
bool has_bf16_arithmetic();

}  // namespace yolort
