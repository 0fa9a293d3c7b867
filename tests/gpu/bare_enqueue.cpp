// Lower bound of an engine's time: only enqueueV3 and synchronization. Independent of yolort, for comparison:
//   bare_enqueue model.engine batch height width runs      prints the median in milliseconds
#include <NvInferRuntime.h>
#include <cuda_runtime_api.h>
#include <dlfcn.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

namespace {

class Logger final : public nvinfer1::ILogger {
  void log(Severity severity, const char* text) noexcept override {
    if (severity <= Severity::kERROR) std::fprintf(stderr, "%s\n", text);
  }
};

void need(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "bare_enqueue: %s failed\n", what);
  std::exit(1);
}

}  // namespace

int main(int count, char** arguments) {
  need(count == 6, "usage: model.engine batch height width runs:");
  const int batch = std::atoi(arguments[2]), height = std::atoi(arguments[3]), width = std::atoi(arguments[4]);
  const int runs = std::atoi(arguments[5]);
  std::ifstream file(arguments[1], std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(file)), {});
  std::uint32_t header = 0;
  need(bytes.size() > 8, "reading the engine");
  std::memcpy(&header, bytes.data(), 4);
  need(header + 4 < bytes.size() && bytes[4] == '{', "finding the plan");

  void* library = dlopen(("libnvinfer.so." + std::to_string(NV_TENSORRT_MAJOR)).c_str(), RTLD_NOW);
  need(library, "opening libnvinfer");
  const auto create = reinterpret_cast<void* (*)(void*, int)>(dlsym(library, "createInferRuntime_INTERNAL"));
  const auto version = reinterpret_cast<int (*)()>(dlsym(library, "getInferLibVersion"));
  Logger logger;
  std::unique_ptr<nvinfer1::IRuntime> runtime(static_cast<nvinfer1::IRuntime*>(create(&logger, version())));
  need(runtime != nullptr, "the runtime");
  std::unique_ptr<nvinfer1::ICudaEngine> engine(
      runtime->deserializeCudaEngine(bytes.data() + 4 + header, bytes.size() - 4 - header));
  need(engine != nullptr, "loading the engine");
  std::unique_ptr<nvinfer1::IExecutionContext> context(engine->createExecutionContext());
  need(context != nullptr, "the context");
  for (int i = 0; i < engine->getNbIOTensors(); ++i) {
    const char* name = engine->getIOTensorName(i);
    if (engine->getTensorIOMode(name) == nvinfer1::TensorIOMode::kINPUT) {
      need(context->setInputShape(name, nvinfer1::Dims4(batch, 3, height, width)), "the input's shape");
    }
  }
  for (int i = 0; i < engine->getNbIOTensors(); ++i) {
    const char* name = engine->getIOTensorName(i);
    const nvinfer1::Dims shape = context->getTensorShape(name);
    std::size_t size = 4;
    for (int d = 0; d < shape.nbDims; ++d) size *= static_cast<std::size_t>(shape.d[d]);
    void* memory = nullptr;
    need(cudaMalloc(&memory, size) == cudaSuccess && cudaMemset(memory, 0, size) == cudaSuccess, "memory");
    need(context->setTensorAddress(name, memory), "an address");
  }
  cudaStream_t stream = nullptr;
  need(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking) == cudaSuccess, "a stream");
  std::vector<double> times;
  for (int run = 0; run < runs + 50; ++run) {
    const auto start = std::chrono::steady_clock::now();
    need(context->enqueueV3(stream) && cudaStreamSynchronize(stream) == cudaSuccess, "a run");
    times.push_back(std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count());
  }
  times.erase(times.begin(), times.begin() + 50);
  std::nth_element(times.begin(), times.begin() + runs / 2, times.end());
  std::printf("%.5f\n", times[static_cast<std::size_t>(runs / 2)]);
  return 0;
}
