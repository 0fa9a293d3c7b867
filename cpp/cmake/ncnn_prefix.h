// Included before every source file of ncnn; yolort defines what it declares.
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

// ncnn prints to a stream of yolort (cpp/src/engines/ncnn/callbacks.cpp), not to the user's terminal.
extern "C" std::FILE* yolort_stderr;
#undef stderr
#define stderr yolort_stderr
