# Read by glslang's own project() when ncnn is built: it compiles shaders when a model is loaded on Vulkan. In a few large
# units, and at -O1, it takes a quarter of the time to compile.
set(CMAKE_UNITY_BUILD ON)
set(CMAKE_UNITY_BUILD_BATCH_SIZE 12)
string(REPLACE "-O3" "-O1" CMAKE_CXX_FLAGS_RELEASE "${CMAKE_CXX_FLAGS_RELEASE}")
