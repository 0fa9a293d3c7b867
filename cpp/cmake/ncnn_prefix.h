// Included before every ncnn source file. yolort defines the functions that it redirects.
#pragma once

#include <cstdio>

#define omp_get_dynamic yolort_omp_get_dynamic
#define omp_get_max_threads yolort_omp_get_max_threads
#define omp_get_num_threads yolort_omp_get_num_threads
#define omp_get_thread_num yolort_omp_get_thread_num
#define omp_set_dynamic yolort_omp_set_dynamic
#define omp_set_num_threads yolort_omp_set_num_threads
#define kmp_get_blocktime yolort_kmp_get_blocktime
#define kmp_set_blocktime yolort_kmp_set_blocktime

// ncnn's messages go to a stream that yolort opens (cpp/src/engines/ncnn/engine.cpp), not to the user's terminal.
extern "C" std::FILE* yolort_stderr;
#undef stderr
#define stderr yolort_stderr
