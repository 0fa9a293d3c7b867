#include "engines/ncnn/layer_times.h"

#include <layer.h>

#include <atomic>
#include <chrono>
#include <memory>

namespace yolort {

/// Wraps a layer: forwards the work to it, and has the same properties.
class TimedLayer final : public ncnn::Layer {
 public:
  explicit TimedLayer(ncnn::Layer* layer) : ncnn::Layer(*layer), layer_(layer) {}

  int destroy_pipeline(const ncnn::Option& opt) override { return layer_->destroy_pipeline(opt); }
  int forward(const std::vector<ncnn::Mat>& in, std::vector<ncnn::Mat>& out, const ncnn::Option& opt) const override {
    return timed([&] { return layer_->forward(in, out, opt); });
  }
  int forward(const ncnn::Mat& in, ncnn::Mat& out, const ncnn::Option& opt) const override {
    return timed([&] { return layer_->forward(in, out, opt); });
  }
  int forward_inplace(std::vector<ncnn::Mat>& blobs, const ncnn::Option& opt) const override {
    return timed([&] { return layer_->forward_inplace(blobs, opt); });
  }
  int forward_inplace(ncnn::Mat& blob, const ncnn::Option& opt) const override {
    return timed([&] { return layer_->forward_inplace(blob, opt); });
  }

  LayerTime take() {
    const auto runs = runs_.exchange(0);
    const auto total = static_cast<double>(nanoseconds_.exchange(0));
    return {name, type, runs ? total / static_cast<double>(runs) / 1e6 : 0};
  }

 private:
  template <class Call>
  int timed(Call call) const {
    const auto start = std::chrono::steady_clock::now();
    const int status = call();
    const auto spent = std::chrono::steady_clock::now() - start;
    nanoseconds_ += std::chrono::duration_cast<std::chrono::nanoseconds>(spent).count();
    ++runs_;
    return status;
  }

  std::unique_ptr<ncnn::Layer> layer_;
  mutable std::atomic<long long> nanoseconds_{0}, runs_{0};
};

NcnnLayerTimes::NcnnLayerTimes(ncnn::Net& net) {
  for (ncnn::Layer*& layer : net.mutable_layers()) {
    layers_.push_back(new TimedLayer(layer));
    layer = layers_.back();
  }
}

std::vector<LayerTime> NcnnLayerTimes::take() const {
  std::vector<LayerTime> out;
  for (TimedLayer* layer : layers_) out.push_back(layer->take());
  return out;
}

}  // namespace yolort
