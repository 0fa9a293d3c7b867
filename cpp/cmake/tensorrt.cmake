# Compiles the TensorRT engine against every major version whose headers are here: in the folders of
# TENSORRT_INCLUDE_DIR, otherwise the system's. The libraries are opened at run time. Sets YOLORT_TENSORRT and
# YOLORT_TENSORRT_MISSING.

set(folders ${TENSORRT_INCLUDE_DIR})
if(NOT folders)
  find_path(YOLORT_TENSORRT_SYSTEM_INCLUDE_DIR NvInferRuntime.h PATHS /usr/local/tensorrt/include
            DOC "Headers of the installed TensorRT")
  if(YOLORT_TENSORRT_SYSTEM_INCLUDE_DIR)
    set(folders ${YOLORT_TENSORRT_SYSTEM_INCLUDE_DIR})
  endif()
endif()
find_path(YOLORT_CUDA_INCLUDE_DIR cuda_runtime_api.h HINTS ENV CUDA_HOME ENV CUDA_PATH PATHS /usr/local/cuda/include
          DOC "Headers of CUDA")

set(YOLORT_TENSORRT OFF)
set(YOLORT_TENSORRT_MISSING "this build was made without TensorRT's headers (TENSORRT_INCLUDE_DIR)")
if(folders AND NOT YOLORT_CUDA_INCLUDE_DIR)
  set(YOLORT_TENSORRT_MISSING "this build was made without CUDA's headers (YOLORT_CUDA_INCLUDE_DIR)")
elseif(folders)
  foreach(folder IN LISTS folders)
    if(NOT EXISTS ${folder}/NvInferRuntime.h)
      message(FATAL_ERROR "yolort: TENSORRT_INCLUDE_DIR: ${folder} has no NvInferRuntime.h")
    endif()
    file(STRINGS ${folder}/NvInferVersion.h line REGEX "^#define (NV_TENSORRT_MAJOR|TRT_MAJOR_ENTERPRISE) +[0-9]+")
    string(REGEX MATCH "(NV_TENSORRT_MAJOR|TRT_MAJOR_ENTERPRISE) +([0-9]+)" line "${line}")
    set(major ${CMAKE_MATCH_2})
    if(NOT major MATCHES "^(8|10|11)$" OR TARGET yolort_tensorrt_${major})
      message(FATAL_ERROR "yolort: TENSORRT_INCLUDE_DIR: ${folder} is TensorRT ${major}; one of each of 8, 10, 11 can be")
    endif()
    message(STATUS "yolort: TensorRT ${major} from ${folder}")
    add_library(yolort_tensorrt_${major} OBJECT cpp/src/engines/tensorrt/runtime.cpp
                                                 cpp/src/engines/tensorrt/builder.cpp)
    yolort_compile_options(yolort_tensorrt_${major})
    target_compile_definitions(yolort_tensorrt_${major} PRIVATE YOLORT_TENSORRT_MAJOR=${major})
    target_include_directories(yolort_tensorrt_${major} PRIVATE cpp/include cpp/src)
    target_include_directories(yolort_tensorrt_${major} SYSTEM PRIVATE ${folder} ${YOLORT_CUDA_INCLUDE_DIR})
    target_sources(yolort PRIVATE $<TARGET_OBJECTS:yolort_tensorrt_${major}>)
    target_compile_definitions(yolort PRIVATE YOLORT_TENSORRT_${major}=1)
  endforeach()
  target_compile_definitions(yolort PUBLIC $<BUILD_INTERFACE:YOLORT_TENSORRT=1>)
  set(YOLORT_TENSORRT ON)
endif()

# The work on the GPU around TensorRT; its tests need neither.
set(YOLORT_CUDA OFF)
if(YOLORT_TENSORRT OR (YOLORT_BUILD_TESTS AND YOLORT_CUDA_INCLUDE_DIR))
  target_sources(yolort PRIVATE cpp/src/cuda/driver.cpp cpp/src/cuda/pipeline.cpp cpp/src/cuda/pipeline_inputs.cpp
                                cpp/src/cuda/pipeline_masks.cpp)
  target_include_directories(yolort SYSTEM PRIVATE ${YOLORT_CUDA_INCLUDE_DIR})
  include(kernels)
  set(YOLORT_CUDA ON)
endif()
