// The time of each operator, from the trace file of ONNX Runtime's own profiler.
#pragma once

#include <filesystem>
#include <iosfwd>
#include <string>
#include <vector>

#include "yolort/yolort.h"

namespace yolort::ort {

/// Where a session writes its trace: files that begin with a prefix that was asked for, which stay; otherwise a
/// temporary folder, deleted with this object.
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

/// Means of each operator over the runs in a trace but the first, in order of execution.
std::vector<LayerTime> mean_times(std::istream& trace);

}  // namespace yolort::ort
