// The time of each operator, from the trace file of ONNX Runtime's own profiler.
#pragma once

#include <filesystem>
#include <iosfwd>
#include <string>
#include <vector>

#include "yolort/yolort.h"

namespace yolort::ort {

/// Where a session writes its trace: to files with the requested prefix, which are kept, or to a temporary folder,
/// which is deleted with this object.
class TraceFolder {
 public:
  explicit TraceFolder(std::string prefix);
  ~TraceFolder();
  TraceFolder(const TraceFolder&) = delete;
  TraceFolder& operator=(const TraceFolder&) = delete;

  const std::string& prefix() const { return prefix_; }

 private:
  std::filesystem::path folder_;  ///< empty: nothing is deleted
  std::string prefix_;
};

/// Mean time of each operator over all runs in a trace except the first, in order of execution.
std::vector<LayerTime> mean_times(std::istream& trace);

}  // namespace yolort::ort
