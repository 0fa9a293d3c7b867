// Builds a TensorRT plan from an ONNX file; compiled once for each major version.
#include <exception>
#include <map>
#include <memory>

#include "cuda/driver.h"
#include "engines/tensorrt/engine.h"
#include "engines/tensorrt/namespace.h"

namespace yolort {
namespace {

#if NV_TENSORRT_MAJOR < 11
/// A calibration cache begins with version and method: "TRT-8601-EntropyCalibration2". TensorRT accepts only its own
/// version and the calibrator's method; the rest of the file is the same in all versions.
std::string of_this_version(const std::string& cache, std::int32_t version) {
  const std::size_t method = cache.find('-', 4);
  if (cache.compare(0, 4, "TRT-") != 0 || method == std::string::npos) return cache;
  return "TRT-" + std::to_string(version) + cache.substr(method);
}

/// Supplies a calibration cache; there are no calibration images.
template <class Calibrator>
class Cached final : public Calibrator {
 public:
  explicit Cached(const std::string& cache) : cache_(cache) {}
  int32_t getBatchSize() const noexcept override { return 1; }
  bool getBatch(void**, const char**, int32_t) noexcept override { return false; }
  const void* readCalibrationCache(std::size_t& length) noexcept override {
    length = cache_.size();
    return cache_.data();
  }
  void writeCalibrationCache(const void*, std::size_t) noexcept override {}

 private:
  const std::string& cache_;
};
#endif

#if NV_TENSORRT_MAJOR >= 10
/// Forwards progress to the callback. An exception must not pass through TensorRT: it stops the build and is rethrown
/// afterwards.
class Progress final : public trt::IProgressMonitor {
 public:
  explicit Progress(const TensorrtBuild& build) : build_(build) {}
  void phaseStart(const char* phase, const char*, int32_t steps) noexcept override {
    const std::lock_guard lock(mutex_);
    try {
      steps_[phase] = steps;
    } catch (...) {
      error_ = std::current_exception();
    }
  }
  bool stepComplete(const char* phase, int32_t step) noexcept override {
    const std::lock_guard lock(mutex_);
    try {
      if (!error_ && !build_.progress(phase, step + 1, steps_[phase])) ended_ = true;
    } catch (...) {
      error_ = std::current_exception();
    }
    return !error_ && !ended_;
  }
  void phaseFinish(const char*) noexcept override {}
  void rethrow() const {
    if (error_) std::rethrow_exception(error_);
    if (ended_) throw EngineError("the build was cancelled");
  }

 private:
  const TensorrtBuild& build_;
  std::mutex mutex_;  // phases run in threads of the builder
  std::map<std::string, int> steps_;
  std::exception_ptr error_;
  bool ended_ = false;
};
#endif

/// The optimization profile for the model's dynamic sizes; null if it has none.
void add_profile(trt::IBuilder& builder, trt::IBuilderConfig& config, const trt::INetworkDefinition& network,
                 const TensorrtBuild& build) {
  trt::IOptimizationProfile* profile = builder.createOptimizationProfile();
  bool open = false;
  for (int i = 0; i < network.getNbInputs(); ++i) {
    const trt::ITensor& input = *network.getInput(i);
    const trt::Dims shape = input.getDimensions();
    constexpr trt::OptProfileSelector selectors[] = {trt::OptProfileSelector::kMIN, trt::OptProfileSelector::kOPT,
                                                     trt::OptProfileSelector::kMAX};
    for (int which = 0; which < 3; ++which) {
      trt::Dims sides = shape;
      for (int d = 0; d < shape.nbDims; ++d) {
        if (shape.d[d] != -1) continue;
        if (shape.nbDims != 4 || d == 1)
          throw ModelError("model \"" + build.onnx + "\" does not have exactly one image as input");
        open = true;
        sides.d[d] = build.sizes[which][d ? d - 1 : 0];
      }
      if (!profile->setDimensions(input.getName(), selectors[which], sides)) {
        throw std::invalid_argument(
            "minimum, usual and maximum batch, height and width must be at least 1 and in ascending order");
      }
    }
  }
  if (open) config.addOptimizationProfile(profile);
}

template <class T>
std::unique_ptr<T> owned(T* pointer, Logger& logger, const char* what) {
  if (!pointer) throw EngineError(std::string("TensorRT could not create ") + what + logger.take());
  return std::unique_ptr<T>(pointer);
}

#if NV_TENSORRT_MAJOR == 8
constexpr std::uint32_t network_flags = 1U << static_cast<int>(trt::NetworkDefinitionCreationFlag::kEXPLICIT_BATCH);
#else
constexpr std::uint32_t network_flags = 0;
#endif

void parse(nvonnxparser::IParser& parser, const TensorrtBuilderLibrary& library, const TensorrtBuild& build) {
  const std::string& onnx = NV_TENSORRT_MAJOR >= 11 && build.fp16 ? build.onnx_fp16 : build.onnx;
  if (parser.parseFromFile(onnx.c_str(), static_cast<int>(trt::ILogger::Severity::kERROR))) return;
  std::string why;
  for (int i = 0; i < parser.getNbErrors() && i < 3; ++i) why += std::string("; ") + parser.getError(i)->desc();
  throw ModelError("model \"" + build.onnx + "\": TensorRT " + library.version + " cannot read it" + why);
}

/// The options that every version of TensorRT has.
void set_options(trt::IBuilderConfig& config, const TensorrtBuild& build) {
  if (build.workspace_mib) {
    config.setMemoryPoolLimit(trt::MemoryPoolType::kWORKSPACE, build.workspace_mib << 20);
  }
  if (build.level >= 0) config.setBuilderOptimizationLevel(build.level);
  if (build.version_compatible) {
    config.setFlag(trt::BuilderFlag::kVERSION_COMPATIBLE);
    config.setFlag(trt::BuilderFlag::kEXCLUDE_LEAN_RUNTIME);  // contains host code, which must not be run from a model
  }
  if (build.hardware_compatible) {
    config.setHardwareCompatibilityLevel(trt::HardwareCompatibilityLevel::kAMPERE_PLUS);
  }
}

}  // namespace

TensorrtPlan YOLORT_JOIN(build_tensorrt_, YOLORT_TENSORRT_MAJOR)(const TensorrtBuilderLibrary& library,
                                                                 const TensorrtBuild& build) {
  const CudaDevice device(parse_cuda_device(build.device));
  const CudaDevice::ContextGuard guard(device);
  Logger logger;
  // In this order: each needs those before it during its lifetime.
  const auto builder =
      owned(static_cast<trt::IBuilder*>(library.create_builder(&logger, library.number)), logger, "builder");
  const auto network = owned(builder->createNetworkV2(network_flags), logger, "network");
  const auto parser =
      owned(static_cast<nvonnxparser::IParser*>(library.create_parser(network.get(), &logger, NV_ONNX_PARSER_VERSION)),
            logger, "ONNX parser");
  parse(*parser, library, build);
  const auto config = owned(builder->createBuilderConfig(), logger, "configuration");
  set_options(*config, build);
#if NV_TENSORRT_MAJOR < 11
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"  // gone in 11
  const std::string ranges = of_this_version(build.calibration, library.number);
  Cached<trt::IInt8EntropyCalibrator2> entropy(ranges);
  Cached<trt::IInt8MinMaxCalibrator> min_max(ranges);
  const bool is_min_max = ranges.substr(0, ranges.find('\n')).find("MinMax") != std::string::npos;
  // Tactics from cuBLAS and cuDNN require these libraries on the target machine, and do not speed up convolutions.
  config->setTacticSources(1U << static_cast<int>(trt::TacticSource::kEDGE_MASK_CONVOLUTIONS) |
                           1U << static_cast<int>(trt::TacticSource::kJIT_CONVOLUTIONS));
  if (build.fp16) config->setFlag(trt::BuilderFlag::kFP16);
  if (build.int8 || !build.calibration.empty()) config->setFlag(trt::BuilderFlag::kINT8);
  if (!build.calibration.empty()) {
    config->setInt8Calibrator(is_min_max ? static_cast<trt::IInt8Calibrator*>(&min_max) : &entropy);
  }
#pragma GCC diagnostic pop
#else
  if (!build.calibration.empty()) {
    throw EngineError("TensorRT 11 takes INT8 only from Q/DQ pairs in the ONNX file; quantize it with --target gpu");
  }
#endif
#if NV_TENSORRT_MAJOR >= 10
  Progress progress(build);
  if (build.progress) config->setProgressMonitor(&progress);
#endif
  add_profile(*builder, *config, *network, build);
  const auto cache =
      owned(config->createTimingCache(build.timing_cache.data(), build.timing_cache.size()), logger, "timing cache");
  config->setTimingCache(*cache, false);
  const std::unique_ptr<trt::IHostMemory> plan(builder->buildSerializedNetwork(*network, *config));
#if NV_TENSORRT_MAJOR >= 10
  progress.rethrow();
#endif
  if (!plan) throw EngineError("TensorRT " + library.version + " failed to build the engine" + logger.take());
  TensorrtPlan out;
  out.bytes.assign(static_cast<const char*>(plan->data()), plan->size());
  out.version = library.version;
  if (const std::unique_ptr<trt::IHostMemory> timings(cache->serialize()); timings) {
    out.timing_cache.assign(static_cast<const char*>(timings->data()), timings->size());
  }
  return out;
}

}  // namespace yolort
