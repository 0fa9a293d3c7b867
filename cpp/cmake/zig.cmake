# For wheels that run with glibc 2.28 and later: Clang and the libraries of zig. packaging/wheels.py writes the programs and
# sets the environment.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR $ENV{YOLORT_WHEEL_ARCH})
set(CMAKE_C_COMPILER $ENV{YOLORT_ZIG}/cc)
set(CMAKE_CXX_COMPILER $ENV{YOLORT_ZIG}/c++)
set(CMAKE_AR $ENV{YOLORT_ZIG}/ar CACHE FILEPATH "")
set(CMAKE_RANLIB $ENV{YOLORT_ZIG}/ranlib CACHE FILEPATH "")
set(CMAKE_STRIP "" CACHE FILEPATH "")  # that of this machine knows its own processor only
set(CMAKE_MODULE_LINKER_FLAGS_INIT -s)
