// TensorRT on NVIDIA GPUs. libnvinfer and the CUDA driver are opened at run time.
#include "engines/tensorrt/engine.h"

#include <string_view>
#include <utility>
#include <vector>

#include "cuda/driver.h"
#include "platform/device_name.h"
#include "platform/dynamic_library.h"

namespace yolort {
namespace {

/// Maximum size of a plan; a larger one is not read.
constexpr std::uintmax_t max_plan_bytes = std::uintmax_t{16} << 30;

/// The first version whose classes have every function called here. Within a major version, functions are only added.
constexpr std::int32_t oldest = 8600;

struct Compiled {
  int major;
  TensorrtLoad* load;
  TensorrtBuildWith* build;
};
/// The versions whose headers this build has, newest first.
const Compiled compiled[] = {
#ifdef YOLORT_TENSORRT_11
    {11, load_tensorrt_11, build_tensorrt_11},
#endif
#ifdef YOLORT_TENSORRT_10
    {10, load_tensorrt_10, build_tensorrt_10},
#endif
#ifdef YOLORT_TENSORRT_8
    {8, load_tensorrt_8, build_tensorrt_8},
#endif
};

std::string dotted(int version) {  // 8601, 101601
  const int major = version >= 10000 ? version / 10000 : version / 1000;
  const int rest = version - major * (version >= 10000 ? 10000 : 1000);
  return std::to_string(major) + "." + std::to_string(rest / 100) + "." + std::to_string(rest % 100);
}

/// Opens a runtime of this major version: the full one, otherwise the lean one, otherwise the dispatch one.
TensorrtLibrary open_runtime(int major, std::string* why) {
  TensorrtLibrary out;
  for (const char* kind : {"nvinfer", "nvinfer_lean", "nvinfer_dispatch"}) {
    const std::string name = std::string("lib") + kind + ".so." + std::to_string(major);
    void* library = open_library(name, why);
    if (!library) continue;
    const auto version = reinterpret_cast<std::int32_t (*)()>(find_function(library, "getInferLibVersion"));
    const auto create =
        reinterpret_cast<void* (*)(void*, std::int32_t)>(find_function(library, "createInferRuntime_INTERNAL"));
    if (!version || !create || version() < oldest) continue;
    out = {create, major, version(), dotted(version()), name};
    break;
  }
  return out;
}

struct Runtimes {
  std::vector<std::pair<TensorrtLibrary, TensorrtLoad*>> found;  ///< newest first
  std::string why;                                               ///< why an installed library cannot be opened
};

/// The installed libraries; opened on the first call.
const Runtimes& runtimes() {
  static const Runtimes instance = [] {
    Runtimes out;
    for (const auto& [major, load, build] : compiled) {
      TensorrtLibrary library = open_runtime(major, &out.why);
      if (library.create_runtime) out.found.emplace_back(library, load);
    }
    return out;
  }();
  return instance;
}

std::string unavailable() {
  if (std::string reason = Cuda::unavailable(); !reason.empty()) return reason;
  if (!runtimes().found.empty()) return {};
  if (!runtimes().why.empty()) return "TensorRT is installed, but cannot be opened: " + runtimes().why;
  std::string names;
  for (const Compiled& version : compiled) {
    names += (names.empty() ? "" : ", ") + std::string("libnvinfer.so.") + std::to_string(version.major);
  }
  return "no TensorRT from 8.6 on is installed (" + names + " not found); pip install tensorrt, or add its folder to " +
         "LD_LIBRARY_PATH";
}

std::string read_plan(const ModelSpec& spec) {
  const auto [file, size] = open_graph(spec);
  if (size <= spec.plan) throw ModelError("model \"" + spec.path + "\" has no plan after its metadata header");
  if (size - spec.plan > max_plan_bytes) throw ModelError("model \"" + spec.path + "\" is larger than 16 GiB");
  std::string plan(size - spec.plan, '\0');
  file->seekg(static_cast<std::streamoff>(spec.plan));
  file->read(plan.data(), static_cast<std::streamsize>(plan.size()));
  if (!*file) throw ModelError("model \"" + spec.path + "\" cannot be read");
  return plan;
}

std::unique_ptr<Engine> load(const ModelSpec& spec, const Options& options) {
  if (std::string reason = unavailable(); !reason.empty()) throw EngineError(reason);
  const std::string plan = read_plan(spec);
  const auto* bytes = reinterpret_cast<const unsigned char*>(plan.data());
  const std::string built = plan_version(bytes, plan.size());
  // The runtime of the same major version. A newer one can run plans that were built to be compatible.
  const auto& all = runtimes().found;
  auto chosen = all.begin();
  for (auto it = all.begin(); it != all.end(); ++it) {
    if (built.compare(0, built.find('.'), std::to_string(it->first.major)) == 0) chosen = it;
  }
  return chosen->second(chosen->first, spec, options, plan.data(), plan.size());
}

}  // namespace

TensorrtPlan build_tensorrt(const TensorrtBuild& build) {
  if (std::string reason = Cuda::unavailable(); !reason.empty()) throw EngineError(reason);
  std::string why;
  for (const Compiled& version : compiled) {
    const std::string ending = ".so." + std::to_string(version.major);
    void* builder = open_library("libnvinfer" + ending, &why);
    void* parser = builder ? open_library("libnvonnxparser" + ending, &why) : nullptr;
    if (!parser) continue;
    const auto number = reinterpret_cast<std::int32_t (*)()>(find_function(builder, "getInferLibVersion"));
    TensorrtBuilderLibrary library;
    library.create_builder =
        reinterpret_cast<decltype(library.create_builder)>(find_function(builder, "createInferBuilder_INTERNAL"));
    library.create_parser =
        reinterpret_cast<decltype(library.create_parser)>(find_function(parser, "createNvOnnxParser_INTERNAL"));
    if (!number || !library.create_builder || !library.create_parser || number() < oldest) continue;
    library.number = number();
    library.version = dotted(library.number);
    return version.build(library, build);
  }
  throw EngineError(
      why.empty()
          ? "no TensorRT 8.6 or later with a builder is installed (libnvinfer and libnvonnxparser); pip install "
            "tensorrt, or add its folder to LD_LIBRARY_PATH"
          : "TensorRT's builder cannot be opened: " + why);
}

std::string plan_version(const unsigned char* plan, std::size_t size) {
  if (size < 28 || plan[24] < 5 || plan[24] > 40) return {};
  return std::to_string(plan[24]) + "." + std::to_string(plan[25]) + "." + std::to_string(plan[26]);
}

int parse_cuda_device(const std::string& device) {
  const std::string name = canonical_device(device);
  if (name.empty()) return 0;
  const int index = device_index(name, "cuda");
  if (index < 0)
    throw std::invalid_argument("device \"" + device +
                                "\" is not supported by TensorRT; expected cuda, cuda:0, cuda:1, ...");
  return index;
}

EngineEntry tensorrt_engine() {
  EngineEntry entry;
  entry.name = "tensorrt";
  entry.priority = 100;
  entry.unavailable = unavailable;
  entry.accepts = [](const ModelSpec& spec) { return spec.format == Format::tensorrt; };
  entry.load = load;
  entry.reads_memory = true;
  entry.computes_as_written = true;
  entry.library = [] {
    const TensorrtLibrary& library = runtimes().found.front().first;
    return EngineLibrary{library.version, library_path(reinterpret_cast<const void*>(library.create_runtime))};
  };
  entry.devices = [] {
    const Cuda& cuda = Cuda::get();
    int count = 0;
    cuda.check(cuda.device_count(&count), "counting devices");
    std::vector<std::string> out;
    for (int i = 0; i < count; ++i) {
      CUdevice device = 0;
      char name[256] = {};
      cuda.check(cuda.device_get(&device, i), "opening a device");
      cuda.check(cuda.device_name(name, sizeof name - 1, device), "naming a device");
      out.push_back("cuda:" + std::to_string(i) + " " + name);
    }
    return out;
  };
  entry.precisions = [](const std::string&) { return std::vector<std::string>(); };
  return entry;
}

}  // namespace yolort
