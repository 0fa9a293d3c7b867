# Read by ncnn's own project() when it is built.
if(YOLORT_OWN_THREADS)
  add_compile_options("SHELL:-include ${CMAKE_CURRENT_LIST_DIR}/ncnn_prefix.h")
endif()

# Changes the target `ncnn` after ncnn's CMakeLists.txt has described it.
function(yolort_change_ncnn)
  get_target_property(sources ncnn SOURCES)
  list(FILTER sources EXCLUDE REGEX "(^|/)simpleomp\\.cpp$")  # yolort brings the functions itself
  # At -O2 the kernels, which are written in intrinsics, run as fast as at -O3, and those for AVX-512 compile in three
  # quarters of the time.
  target_compile_options(ncnn PRIVATE -O2 -w)
  if(NCNN_TARGET_ARCH STREQUAL "x86" AND NCNN_RUNTIME_CPU AND NCNN_AVX2 AND NCNN_FMA AND NCNN_F16C)
    # ncnn has variants of its layers for AVX, and of their kernels for FMA, F16C and AVX2. One variant replaces these four, for
    # CPUs that have all of them (from 2013). CPUs with AVX but without AVX2 (2011 and 2012) run the variants for SSE2. layer.cpp
    # and net.cpp, which choose the variant, ask a function of yolort's (cpp/src/engines/ncnn/callbacks.cpp).
    list(FILTER sources EXCLUDE REGEX "_x86_(avx2|fma|f16c)\\.cpp$")
    set(avx ${sources})
    list(FILTER avx INCLUDE REGEX "_x86_avx\\.cpp$")
    set_property(SOURCE ${avx} TARGET_DIRECTORY ncnn PROPERTY COMPILE_FLAGS "-mavx2 -mfma -mf16c")
    get_target_property(folder ncnn SOURCE_DIR)
    set_property(SOURCE ${folder}/layer.cpp ${folder}/net.cpp TARGET_DIRECTORY ncnn
                 APPEND PROPERTY COMPILE_DEFINITIONS cpu_support_x86_avx=yolort_supports_avx_variants)
    set(sse2 ${sources})
    list(FILTER sse2 INCLUDE REGEX "_x86\\.cpp$")
    set_property(SOURCE ${sse2} TARGET_DIRECTORY ncnn PROPERTY COMPILE_FLAGS -O1)
  endif()
  set_property(TARGET ncnn PROPERTY SOURCES ${sources})
endfunction()
cmake_language(DEFER CALL yolort_change_ncnn)
