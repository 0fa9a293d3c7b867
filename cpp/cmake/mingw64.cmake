# For 64-bit Windows with the compiler of Debian's and Ubuntu's g++-mingw-w64-x86-64:
#   cmake -B build -DCMAKE_TOOLCHAIN_FILE=cpp/cmake/mingw64.cmake
# "posix": the threads that std::thread needs.
set(CMAKE_SYSTEM_NAME Windows)
set(CMAKE_SYSTEM_PROCESSOR x86_64)
set(CMAKE_C_COMPILER x86_64-w64-mingw32-gcc-posix)
set(CMAKE_CXX_COMPILER x86_64-w64-mingw32-g++-posix)
set(CMAKE_RC_COMPILER x86_64-w64-mingw32-windres)
set(CMAKE_FIND_ROOT_PATH /usr/x86_64-w64-mingw32)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
# GCC cannot align the stack for AVX on Windows (its bug 54412) and would crash on aligned moves of spilled registers.
set(CMAKE_CXX_FLAGS_INIT -Wa,-muse-unaligned-vector-move)
