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

/// Whether the processor has bf16 instructions (AVX512-BF16, AMX-BF16, or ARM's BF16), which make bf16 faster than
/// fp32. Respects $ONEDNN_MAX_CPU_ISA, which can limit OpenVINO's kernels to older instruction sets.
bool has_bf16_arithmetic();

}  // namespace yolort
