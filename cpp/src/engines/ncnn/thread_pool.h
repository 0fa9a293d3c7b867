#pragma once

namespace yolort {

/// Cores this process may run on (its affinity), 1 or more: the threads that ncnn's loops run on.
int available_cores();

}  // namespace yolort
