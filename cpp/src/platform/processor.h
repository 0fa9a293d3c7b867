// What the processor offers.
#pragma once

namespace yolort {

/// The number of cores this process may run on (its affinity), 1 or more.
int available_cores();

/// Whether it multiplies bf16 itself (AVX512-BF16, AMX-BF16, or BF16 of ARM), which makes bf16 faster than fp32.
bool has_bf16_arithmetic();

}  // namespace yolort
