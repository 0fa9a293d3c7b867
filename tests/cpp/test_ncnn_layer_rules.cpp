// All layers that the graph check accepts must be compiled into ncnn: the build takes its list of layers from the
// check.
#include "engines/ncnn/layer_rules.h"

#include <layer.h>

#include <memory>

#include "check.h"
#include "yolort/yolort.h"

int main() {
  CHECK(!yolort::engines().empty());  // also links what libncnn.a calls in libyolort.a
  const auto& layers = yolort::ncnn_graph::known_layers();
  CHECK(layers.size() >= 20);
  for (const auto& [name, rule] : layers) {
    const std::unique_ptr<ncnn::Layer> layer(ncnn::create_layer(name.c_str()));
    if (!layer) check::fail(__FILE__, __LINE__, "ncnn was built without " + name);
  }
  return check::result();
}
