# Finds ncnn: an installed one (ncnn_DIR, CMAKE_PREFIX_PATH), otherwise the pinned source, built once into a user-level
# cache. Sets the target `ncnn` and, if it is our own build, YOLORT_NCNN_PREFIX; the licenses of ncnn and of the libraries
# that it brings are in its folder share/licenses.

set(marker built-by-yolort)  # a file in the prefix of our own build
if(YOLORT_NCNN_BUILT AND "${ncnn_DIR}" MATCHES "^${YOLORT_NCNN_BUILT}")  # ours of an earlier configure, other options
  unset(ncnn_DIR CACHE)
endif()
find_package(ncnn CONFIG QUIET)
if(TARGET ncnn)
  get_filename_component(prefix ${ncnn_DIR}/../../.. ABSOLUTE)
  if(EXISTS ${prefix}/${marker})
    set(YOLORT_NCNN_PREFIX ${prefix})
  endif()
  message(STATUS "yolort: ncnn from ${ncnn_DIR}")
  return()
endif()

find_package(Python3 REQUIRED COMPONENTS Interpreter)

# Layers that no YOLO detector uses: two thirds of the compile time.
set(unused_layers
    argmax bnll celu convolution1d convolution3d convolutiondepthwise1d convolutiondepthwise3d cumulativesum
    deconvolution1d deconvolution3d deconvolutiondepthwise1d deconvolutiondepthwise3d deformableconv2d detectionoutput
    diag einsum embed erf fold glu gridsample gru inversespectrogram log lrn lstm mvn noise pooling1d pooling3d
    priorbox proposal psroipooling reorg rmsnorm rnn roialign roipooling rotaryembed selu shrink spectrogram spp
    statisticspooling threshold unfold yolodetectionoutput yolov3detectionoutput)
# Layers of a minimal build: those that the graph check accepts (cpp/src/engines/ncnn/layer_rules.cpp), and those that
# they create. Exports of YOLOv8, YOLO11 and YOLO26 consist of these, in fp32, fp16 and INT8.
set(minimal_layers
    binaryop clip concat convolution convolutiondepthwise deconvolution dropout gelu hardsigmoid hardswish input interp matmul
    memorydata mish noop permute pooling relu reshape sigmoid slice softmax split swish tanh unaryop
    cast dequantize flatten gemm innerproduct packing padding quantize requantize)
set(vulkan ON)
if(YOLORT_NCNN_MINIMAL)
  set(vulkan OFF)
endif()
set(options
    -DCMAKE_BUILD_TYPE=Release -DCMAKE_POSITION_INDEPENDENT_CODE=ON -DCMAKE_CXX_VISIBILITY_PRESET=hidden
    -DNCNN_SHARED_LIB=OFF -DNCNN_VULKAN=${vulkan} -DNCNN_DISABLE_RTTI=OFF -DNCNN_DISABLE_EXCEPTION=OFF
    -DNCNN_BUILD_TOOLS=OFF -DNCNN_BUILD_EXAMPLES=OFF -DNCNN_BUILD_BENCHMARK=OFF -DNCNN_BUILD_TESTS=OFF
    -DNCNN_PIXEL=OFF -DNCNN_C_API=OFF)
if(YOLORT_NCNN_MINIMAL)
  list(APPEND options -DNCNN_BATCH=OFF -DNCNN_WEIGHT_QUANT=OFF)
else()
  foreach(layer IN LISTS unused_layers)
    list(APPEND options -DWITH_LAYER_${layer}=OFF)
  endforeach()
endif()
# The OpenMP functions that yolort's own threads replace (cpp/src/engines/ncnn/openmp.cpp).
set(openmp_functions GOMP_parallel omp_get_thread_num omp_get_num_threads omp_get_max_threads omp_get_dynamic
                     omp_set_dynamic omp_set_num_threads)
# What ncnn says goes to a stream of yolort's (cpp/src/engines/ncnn/engine.cpp), not to the user's terminal.
set(replaced_symbols ${openmp_functions} stderr)

file(STRINGS ${CMAKE_CURRENT_LIST_DIR}/fetch_ncnn.py version REGEX "^VERSION = ")
string(REGEX MATCH "[0-9.]+" version "${version}")
if(DEFINED ENV{YOLORT_CACHE})
  set(cache $ENV{YOLORT_CACHE})
elseif(DEFINED ENV{XDG_CACHE_HOME})
  set(cache $ENV{XDG_CACHE_HOME}/yolort)
else()
  set(cache $ENV{HOME}/.cache/yolort)
endif()
set(toolchain "")
if(CMAKE_TOOLCHAIN_FILE)  # by what it says: every checkout has its own
  file(SHA256 ${CMAKE_TOOLCHAIN_FILE} toolchain)
endif()
set(identity "licenses;${options};${replaced_symbols};${CMAKE_CXX_COMPILER_ID};${CMAKE_CXX_COMPILER_VERSION};\
${CMAKE_SYSTEM_NAME};${CMAKE_SYSTEM_PROCESSOR};${toolchain};${CMAKE_CXX_FLAGS}")
if(YOLORT_NCNN_MINIMAL)
  list(APPEND identity ${minimal_layers})
endif()
if(ANDROID)
  list(APPEND identity ${ANDROID_ABI} ${ANDROID_PLATFORM})
endif()
string(SHA256 key "${identity}")
string(SUBSTRING ${key} 0 16 key)
set(YOLORT_NCNN_PREFIX ${cache}/ncnn-${version}-${key})

# Builds into a scratch folder that is renamed when whole, so that an interrupted build leaves nothing half; the lock
# makes a second build wait for the first.
function(yolort_build_ncnn)
  file(MAKE_DIRECTORY ${cache})
  file(LOCK ${cache}/lock GUARD FUNCTION TIMEOUT 3600)
  if(EXISTS ${YOLORT_NCNN_PREFIX})
    return()
  endif()
  set(scratch ${YOLORT_NCNN_PREFIX}.building)
  file(REMOVE_RECURSE ${scratch})
  file(MAKE_DIRECTORY ${scratch})
  set(source ${scratch}/source)
  if(YOLORT_NCNN_SOURCE)
    set(source ${YOLORT_NCNN_SOURCE})
  else()
    message(STATUS "yolort: fetching the source of ncnn ${version}")
    execute_process(COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_FUNCTION_LIST_DIR}/fetch_ncnn.py ${source}
                    RESULT_VARIABLE failed ERROR_VARIABLE why)
    if(failed)
      message(FATAL_ERROR "yolort: ${why}\nGive an installed ncnn with -Dncnn_DIR=<folder of ncnnConfig.cmake>, its "
                          "unpacked source with -DYOLORT_NCNN_SOURCE=<folder>, or build without it: -DYOLORT_NCNN=OFF")
    endif()
  endif()
  if(YOLORT_NCNN_MINIMAL)
    file(GLOB layers RELATIVE ${source}/src/layer ${source}/src/layer/*.cpp)
    list(TRANSFORM layers REPLACE "\\.cpp$" "")
    list(REMOVE_ITEM layers ${minimal_layers})
    foreach(layer IN LISTS layers)
      list(APPEND options -DWITH_LAYER_${layer}=OFF)
    endforeach()
  endif()
  message(STATUS "yolort: building ncnn ${version} into ${YOLORT_NCNN_PREFIX}, once (6 to 10 minutes on 2 cores; a minimal one 1 to 2)")
  set(log ${scratch}/build.log)
  foreach(variable CMAKE_C_COMPILER CMAKE_CXX_COMPILER CMAKE_TOOLCHAIN_FILE CMAKE_MAKE_PROGRAM CMAKE_CXX_FLAGS
           ANDROID_ABI ANDROID_PLATFORM)
    if(${variable})
      list(APPEND options "-D${variable}=${${variable}}")
    endif()
  endforeach()
  cmake_host_system_information(RESULT jobs QUERY NUMBER_OF_LOGICAL_CORES)
  foreach(command "-S;${source};-B;${scratch}/build;-G;${CMAKE_GENERATOR};-DCMAKE_INSTALL_PREFIX=${scratch}/prefix;\
-DCMAKE_INSTALL_LIBDIR=lib;${options}" "--build;${scratch}/build;--parallel;${jobs}" "--install;${scratch}/build")
    execute_process(COMMAND ${CMAKE_COMMAND} ${command} RESULT_VARIABLE failed OUTPUT_FILE ${log} ERROR_FILE ${log})
    if(failed)
      file(COPY ${log} DESTINATION ${cache})
      message(FATAL_ERROR "yolort: building ncnn failed; see ${cache}/build.log")
    endif()
  endforeach()
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")  # the OpenMP of others (Clang, the NDK) has other functions, and stays
    list(TRANSFORM replaced_symbols REPLACE "(.+)" "--redefine-sym;\\1=yolort_\\1" OUTPUT_VARIABLE renames)
    execute_process(COMMAND ${CMAKE_OBJCOPY} ${renames} ${scratch}/prefix/lib/libncnn.a RESULT_VARIABLE failed)
    if(failed)
      message(FATAL_ERROR "yolort: objcopy failed on libncnn.a")
    endif()
    foreach(file ncnn.cmake ncnnConfig.cmake)
      file(READ ${scratch}/prefix/lib/cmake/ncnn/${file} text)
      string(REPLACE "OpenMP::OpenMP_CXX;" "" text "${text}")
      string(REPLACE "set(NCNN_OPENMP ON)" "set(NCNN_OPENMP OFF)" text "${text}")
      file(WRITE ${scratch}/prefix/lib/cmake/ncnn/${file} "${text}")
    endforeach()
  endif()
  configure_file(${source}/LICENSE.txt ${scratch}/prefix/share/licenses/ncnn.txt COPYONLY)
  if(NOT YOLORT_NCNN_MINIMAL)  # compiles shaders for Vulkan
    configure_file(${source}/glslang/LICENSE.txt ${scratch}/prefix/share/licenses/glslang.txt COPYONLY)
  endif()
  file(TOUCH ${scratch}/prefix/${marker})
  file(REMOVE_RECURSE ${YOLORT_NCNN_PREFIX})
  file(RENAME ${scratch}/prefix ${YOLORT_NCNN_PREFIX})
  file(REMOVE_RECURSE ${scratch})
endfunction()

yolort_build_ncnn()
find_package(ncnn CONFIG REQUIRED PATHS ${YOLORT_NCNN_PREFIX} NO_DEFAULT_PATH)
set(YOLORT_NCNN_BUILT ${YOLORT_NCNN_PREFIX} CACHE INTERNAL "")
message(STATUS "yolort: ncnn ${version} from ${YOLORT_NCNN_PREFIX}")
