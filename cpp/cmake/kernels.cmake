# Compiles cpp/src/cuda/kernels.cu for every GPU that nvcc knows, and embeds it. Without nvcc the TensorRT engine
# letterboxes and decodes on the CPU.

find_program(YOLORT_NVCC nvcc HINTS ENV CUDA_HOME ENV CUDA_PATH PATHS /usr/local/cuda/bin PATH_SUFFIXES bin
             DOC "Compiler of CUDA")
if(NOT YOLORT_NVCC)
  message(STATUS "yolort: no nvcc: letterbox and decoding stay on the CPU")
  return()
endif()
execute_process(COMMAND ${YOLORT_NVCC} --list-gpu-code OUTPUT_VARIABLE known COMMAND_ERROR_IS_FATAL ANY)
# Code for these, and PTX for the first and the last, which other GPUs compile at first use.
set(architectures "")
foreach(architecture 75 80 86 89 90 100 120)
  if(known MATCHES "sm_${architecture}")
    list(APPEND architectures ${architecture})
  endif()
endforeach()
list(GET architectures 0 oldest)
list(GET architectures -1 newest)
set(targets "")
foreach(architecture IN LISTS architectures)
  list(APPEND targets -gencode arch=compute_${architecture},code=sm_${architecture})
endforeach()
foreach(architecture ${oldest} ${newest})
  list(APPEND targets -gencode arch=compute_${architecture},code=compute_${architecture})
endforeach()

set(warnings -Xcompiler=-Wall,-Wextra)
if(YOLORT_WERROR)
  list(APPEND warnings -Werror=all-warnings -Xcompiler=-Werror)
endif()

set(kernels ${CMAKE_CURRENT_BINARY_DIR}/kernels)
add_custom_command(
  OUTPUT ${kernels}.cpp
  # No fused multiply-add: the numbers must be those of the CPU.
  COMMAND ${YOLORT_NVCC} -fatbin -std=c++17 -O3 -fmad=false --compress-mode=size ${warnings} ${targets}
          -I${CMAKE_CURRENT_SOURCE_DIR}/cpp/src -o ${kernels}.fatbin ${CMAKE_CURRENT_SOURCE_DIR}/cpp/src/cuda/kernels.cu
  COMMAND ${CMAKE_COMMAND} -DFROM=${kernels}.fatbin -DTO=${kernels}.cpp
          -P ${CMAKE_CURRENT_SOURCE_DIR}/cpp/cmake/embed.cmake
  DEPENDS cpp/src/cuda/kernels.cu cpp/src/cuda/kernels.h cpp/src/cuda/mask_kernels.h cpp/src/cuda/params.h
          cpp/src/ops/gaussian_box.h cpp/cmake/embed.cmake
  COMMENT "kernels for compute ${architectures}" VERBATIM)
target_sources(yolort PRIVATE ${kernels}.cpp)
target_compile_definitions(yolort PRIVATE YOLORT_KERNELS=1)
