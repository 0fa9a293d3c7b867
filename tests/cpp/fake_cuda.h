// Counters and switches of the driver in fake_cuda.cpp, for tests.
#pragma once

struct FakeCuda {
  int allocations = 0;     ///< not released
  int copies_to_host = 0;  ///< so far
  int graph_launches = 0;
  int waits = 0;    ///< waits of a stream for an event
  int ordinal = 0;  ///< index of the GPU that holds all memory
  bool refuse_capture = false, refuse_module = false;
};

/// By dlsym() from libcuda.so.1, as fake_cuda().
using FakeCudaState = FakeCuda*();
