#pragma once

#include <net.h>

#include <vector>

#include "yolort/yolort.h"

namespace yolort {

class TimedLayer;

/// Times every layer of a loaded network on the CPU by wrapping it. The network owns the wrappers; its clones are timed
/// together.
class NcnnLayerTimes {
 public:
  explicit NcnnLayerTimes(ncnn::Net& net);

  /// Means over the runs since the last call, in order of execution.
  std::vector<LayerTime> take() const;

 private:
  std::vector<TimedLayer*> layers_;
};

}  // namespace yolort
