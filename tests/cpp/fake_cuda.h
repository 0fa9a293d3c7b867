// What a test sees of, and asks from, the driver of fake_cuda.cpp.
#pragma once

struct FakeCuda {
  int allocations = 0;     ///< not released
  int copies_to_host = 0;  ///< so far
  int graph_launches = 0;
  int waits = 0;    ///< of a stream for an event
  int ordinal = 0;  ///< of the GPU that all memory is on
  bool refuse_capture = false, refuse_module = false;
};

/// By dlsym() from libcuda.so.1, as fake_cuda().
using FakeCudaState = FakeCuda*();
