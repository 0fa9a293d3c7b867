// The folder of models compiled by OpenVINO, so that a model loads faster the next time.
#pragma once

#include <filesystem>
#include <string>

#include "platform/system.h"

namespace yolort::openvino {

/// A folder for one model, compiled with these settings by this version of OpenVINO. For as long as this lives it is
/// locked against other processes, which may only read with it what is already there: OpenVINO writes in place, and
/// another process could read half of a file.
///
/// It lies in $YOLORT_OPENVINO_CACHE ("off": nothing is kept), otherwise in `openvino` of cache_folder(). The folders
/// of the 32 models that were loaded last are kept.
class ModelCache {
 public:
  /// `identity`: whatever makes the compiled model another one.
  explicit ModelCache(const std::string& identity);

  /// Empty: nothing is kept, as that is switched off, the folder cannot be written or others may write to it, or
  /// another process has held it for too long.
  const std::filesystem::path& folder() const { return folder_; }

 private:
  std::filesystem::path folder_;
  system::FileLock lock_;
};

}  // namespace yolort::openvino
