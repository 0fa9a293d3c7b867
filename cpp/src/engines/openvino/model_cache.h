// The folder of models compiled by OpenVINO, so that a model loads faster the next time.
#pragma once

#include <filesystem>
#include <string>

#include "platform/system.h"

namespace yolort::openvino {

/// A folder for one model, compiled with these settings by this version of OpenVINO. While this object lives, the
/// folder is locked: other processes may only read files that were already there. OpenVINO writes in place, so another
/// process could otherwise read a partial file.
///
/// It is in $YOLORT_OPENVINO_CACHE ("off": no cache), otherwise in `openvino` of cache_folder(). Folders of
/// the 32 most recently loaded models are kept.
class ModelCache {
 public:
  /// `identity`: everything that the compiled model depends on.
  explicit ModelCache(const std::string& identity);

  /// Empty if the cache is disabled, its folder is not writable or writable by others, or another process held the lock
  /// for too long.
  const std::filesystem::path& folder() const { return folder_; }

 private:
  std::filesystem::path folder_;
  system::FileLock lock_;
};

}  // namespace yolort::openvino
