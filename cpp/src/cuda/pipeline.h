// A whole detection on a GPU: letterbox, network, decoding, NMS and masks. Only the final detections are copied back.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/engine.h"
#include "cuda/driver.h"
#include "cuda/kernels.h"
#include "ops/decode.h"

namespace yolort {

/// The kernels of kernels.cu on one GPU.
class CudaKernels {
 public:
  /// Null if they cannot run: built without nvcc, unsupported GPU or driver, or YOLORT_CUDA_KERNELS=0.
  static std::shared_ptr<const CudaKernels> load(std::shared_ptr<const CudaDevice> device);
  ~CudaKernels();
  CudaKernels(const CudaKernels&) = delete;
  CudaKernels& operator=(const CudaKernels&) = delete;

  CUfunction letterbox = nullptr, decode = nullptr, select = nullptr, mask_grid = nullptr, mask_bits = nullptr;

 private:
  explicit CudaKernels(std::shared_ptr<const CudaDevice> device) : device_(std::move(device)) {}

  std::shared_ptr<const CudaDevice> device_;
  CUmodule module_ = nullptr;
};

/// One stream of work; used by one thread at a time.
class CudaPipeline {
 public:
  CudaPipeline(std::shared_ptr<const CudaDevice> device, std::shared_ptr<const CudaKernels> kernels, CUstream stream);
  ~CudaPipeline();
  CudaPipeline(const CudaPipeline&) = delete;
  CudaPipeline& operator=(const CudaPipeline&) = delete;

  /// Whether it can decode outputs of this layout.
  static bool takes(const Batch& batch, const std::vector<Tensor>& outputs);

  /// Runs a detection. `network` queues work on the stream that reads `input` and writes `outputs`, all in GPU memory.
  /// On the second consecutive call with the same tensors, everything is captured into a CUDA graph, which is replayed
  /// from then on; a network that cannot be captured is queued each time. If the CPU has to take over (more candidates
  /// than kernels.h allows, or NaN), the outputs are copied and decoded there.
  void detect(const Batch& batch, const Tensor& input, const std::vector<Tensor>& outputs,
              const std::function<void()>& network, std::vector<Detections>& out, Speed& speed);

  /// Must be called if the network changed but its tensors did not.
  void forget_graph();

 private:
  void fill_sources(const Batch& batch);
  void fill_params(const Batch& batch, const Tensor& input, const std::vector<Tensor>& outputs);
  void send(const Image& image, const cuda::Source& source, std::size_t offset);
  void await(const Image& image);
  void queue(const std::function<void()>& network, bool captured);
  bool capture(const std::function<void()>& network);
  void launch(CUfunction kernel, const std::array<unsigned, 3>& grid, const std::array<unsigned, 3>& block);
  void mark(int event, bool captured);
  Detections found(const Batch& batch, const std::vector<Tensor>& outputs, std::size_t image);
  void add_masks(const Tensor& prototypes, const Geometry& geometry, std::size_t image, Detections& found);
  std::vector<Tensor> copy_outputs(const std::vector<Tensor>& outputs, std::vector<std::vector<std::uint16_t>>& copied);

  std::shared_ptr<const CudaDevice> device_;  // first: everything else is on it
  std::shared_ptr<const CudaKernels> kernels_;
  CUstream stream_;
  CUevent events_[3] = {};  ///< after the letterbox, after the network, after all
  CUevent arrived_ = nullptr;
  CUgraphExec graph_ = nullptr;
  enum class Graph { none, capture, ready, impossible } graph_state_ = Graph::none;
  std::vector<Tensor> tensors_;  ///< input and outputs of the last run

  // The LaunchParams and the arrays it points to, in pinned memory and, copied in one piece, on the GPU.
  CudaBuffer params_, device_params_;
  std::size_t params_bytes_ = 0;
  cuda::LaunchParams* params() const { return static_cast<cuda::LaunchParams*>(params_.data()); }
  std::vector<cuda::Source> sources_;
  std::vector<std::size_t> offsets_;  ///< offset of each image's pixels in these two buffers
  CudaBuffer pixels_, staging_;
  CudaBuffer scratch_;               ///< candidates, order, suppressed
  CudaBuffer found_;                 ///< pinned: the GPU writes into host memory
  CudaBuffer spans_, device_spans_;  ///< spans of masks, and the samples of the image
  CudaBuffer grids_, bits_;          ///< of masks
  int batch_ = 0;
  Decoder decoder_;
};

}  // namespace yolort
