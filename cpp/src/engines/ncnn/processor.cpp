// The choice between ncnn's variants for x86 (cpp/cmake/ncnn_project.cmake).
#include <cpu.h>

namespace ncnn {

/// libncnn.a calls this instead of cpu_support_x86_avx(), because its AVX variants are compiled for AVX2, FMA and F16C.
int yolort_supports_avx_variants() { return cpu_support_x86_avx2() && cpu_support_x86_fma() && cpu_support_x86_f16c(); }

}  // namespace ncnn
