#include "engines/onnxruntime/runtime.h"

#include <cstdio>
#include <cstdlib>
#include <vector>

#include "platform/dynamic_library.h"

namespace yolort::ort {
namespace {

/// The library that $YOLORT_ONNXRUNTIME names, otherwise that of the system or of a Python package.
void* open(Runtime& out) {
  const char* given = std::getenv("YOLORT_ONNXRUNTIME");
  if (given && !*given) given = nullptr;
  for (const std::string& name :
       given ? std::vector<std::string>{given} : std::vector<std::string>{"libonnxruntime.so.1", "libonnxruntime.so"}) {
    out.path = name;
    if (void* library = open_library(name, &out.why)) return library;
  }
  if (out.why.empty()) {
    out.why = given
                  ? "YOLORT_ONNXRUNTIME is \"" + out.path + "\", which cannot be opened; it is the path of the library"
                  : "libonnxruntime.so.1 is not found; pip install onnxruntime, or add the folder of the library to "
                    "YOLORT_LIBRARY_PATH";
  }
  return nullptr;
}

bool is_old(const std::string& version) {
  int major = 0, minor = 0;
  if (std::sscanf(version.c_str(), "%d.%d", &major, &minor) != 2) return true;
  return major < 1 || (major == 1 && minor < static_cast<int>(api_version));
}

Runtime open_runtime() {
  Runtime out;
  void* library = open(out);
  if (!library) return out;
  out.why.clear();
  const auto get_base = reinterpret_cast<const ApiBase* (*)()>(find_function(library, "OrtGetApiBase"));
  if (!get_base) {
    out.why = out.path + " is not ONNX Runtime: it has no OrtGetApiBase";
    return out;
  }
  out.path = library_path(reinterpret_cast<const void*>(get_base));
  const ApiBase& base = *get_base();
  out.version = base.version();
  // The library prints to stderr if it does not have a version of the table, so its own version is read first.
  const void* table = is_old(out.version) ? nullptr : base.table(api_version);
  if (!table) {
    out.why = out.path + " is ONNX Runtime " + out.version + "; it must be 1." + std::to_string(api_version) +
              " or later: pip install --upgrade onnxruntime";
    return out;
  }
  const Api functions(table);
  try {
    check(functions, functions.create_env(LogLevel::fatal, "yolort", &out.environment), out.path);
    out.api = functions;
  } catch (const EngineError& error) {
    out.why = error.what();
  }
  return out;
}

}  // namespace

const Runtime& runtime() {
  static const Runtime instance = open_runtime();
  return instance;
}

}  // namespace yolort::ort
