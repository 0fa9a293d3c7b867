#pragma once

namespace yolort {

/// The number of cores this process may run on (its affinity), 1 or more, which is also that of the threads.
int available_cores();

}  // namespace yolort
