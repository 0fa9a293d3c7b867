# Read by glslang's own project() when ncnn is built: it compiles shaders when a model is loaded on Vulkan. In a few large
# units it takes a third of the time to compile, and at -O1 less still.
set(CMAKE_UNITY_BUILD ON)
set(CMAKE_UNITY_BUILD_BATCH_SIZE 12)
string(REPLACE "-O3" "-O1" CMAKE_CXX_FLAGS_RELEASE "${CMAKE_CXX_FLAGS_RELEASE}")
