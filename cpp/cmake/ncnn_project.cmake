# Read by ncnn's own project() when it is built.
add_compile_options("SHELL:-include ${CMAKE_CURRENT_LIST_DIR}/ncnn_prefix.h")
