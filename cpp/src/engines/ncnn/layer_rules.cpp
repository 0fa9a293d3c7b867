#include "engines/ncnn/layer_rules.h"

#include <algorithm>

namespace yolort::ncnn_graph {
namespace {

void expect_at_most_3(const Layer& layer, const Shape& shape) {
  if (shape.size() > 3) fail(layer, "takes a blob of at most 3 dimensions, got " + std::to_string(shape.size()));
}

std::size_t axis_of(const Layer& layer, int key, std::size_t rank) {
  const auto sides = static_cast<std::int64_t>(rank);
  const std::int64_t axis = integer(layer, key, 0, -sides, sides - 1);
  return static_cast<std::size_t>(axis < 0 ? axis + sides : axis);
}

/// Kernel, dilation, stride and padding along one axis, by their .param keys.
struct Window {
  std::int64_t kernel, dilation, stride, before, after;

  std::int64_t output(const Layer& layer, std::int64_t side) const {
    const std::int64_t padded = side + before + after, extent = dilation * (kernel - 1) + 1;
    if (padded < extent) fail(layer, "its kernel is larger than its input map");
    return (padded - extent) / stride + 1;
  }
};

constexpr std::int64_t max_window = 128;

Window convolution_window(const Layer& layer, bool vertical) {
  const auto either = [&](int across, int down, std::int64_t fallback, std::int64_t low) {
    const std::int64_t value = integer(layer, across, fallback, low, max_window);
    return vertical ? integer(layer, down, value, low, max_window) : value;
  };
  const std::int64_t left = integer(layer, 4, 0, 0, max_window), right = integer(layer, 15, left, 0, max_window);
  const std::int64_t top = integer(layer, 14, left, 0, max_window), bottom = integer(layer, 16, top, 0, max_window);
  return {either(1, 11, 0, 1), either(2, 12, 1, 1), either(3, 13, 1, 1), vertical ? top : left,
          vertical ? bottom : right};
}

Shape convolution(const Layer& layer, const std::vector<Shape>& in, Weights& weights) {
  expect_rank(layer, in[0], 3);
  const std::int64_t channels = in[0][0], outputs = integer(layer, 0, 0, 1, 1 << 20);
  const Window across = convolution_window(layer, false), down = convolution_window(layer, true);
  const bool depthwise = layer.type == "ConvolutionDepthWise";
  if (depthwise) {
    // ncnn runs other groups as separate convolutions, and with bf16 reads their weights as if they were fp32.
    const std::int64_t groups = integer(layer, 7, 1, 1, 1 << 20);
    if (groups != channels || groups != outputs)
      fail(layer, "its number of groups differs from its number of channels");
    const bool special = across.kernel == 3 && down.kernel == 3 && across.dilation == 1 && down.dilation == 1 &&
                         across.stride == down.stride && across.stride <= 2;
    if (channels % 4 != 0 && !special) fail(layer, "its channels are not a multiple of 4, which needs a 3 x 3 kernel");
  }
  const std::int64_t scaled = integer(layer, 8, 0, 0, 102);  // 1, 2: INT8; 101, 102: with INT8 output
  if (scaled % 100 > 2 || scaled == 100) fail(layer, "parameter 8 is not one of 1, 2, 101, 102");
  const std::int64_t count = integer(layer, 6, 0, 1, max_elements);
  if (count != outputs * (depthwise ? 1 : channels) * across.kernel * down.kernel) {
    fail(layer, "has " + std::to_string(count) + " weights, which do not fit the " + std::to_string(channels) +
                    " channels of its input");
  }
  weights = {count, integer(layer, 5, 0, 0, 1) * outputs, scaled > 0, Kind::fp32,
             scaled > 100 ? Kind::int8 : Kind::fp32};
  if (scaled) {  // scales: one per channel (depthwise 2: one for all), the input's, the output's
    weights.plain += (depthwise && scaled % 100 == 2 ? 1 : outputs) + 1 + (scaled > 100);
  }
  return {outputs, down.output(layer, in[0][1]), across.output(layer, in[0][2])};
}

/// Only the form that enlarges YOLO's prototypes: no padding, dilation or activation.
Shape deconvolution(const Layer& layer, const std::vector<Shape>& in, Weights& weights) {
  expect_rank(layer, in[0], 3);
  for (const int key : {4, 14, 18, 19}) integer(layer, key, 0, 0, 0);
  for (const int key : {2, 12}) integer(layer, key, 1, 1, 1);
  const std::int64_t channels = in[0][0], outputs = integer(layer, 0, 0, 1, 1 << 20);
  const std::int64_t width = integer(layer, 1, 0, 1, max_window), height = integer(layer, 11, width, 1, max_window);
  const std::int64_t across = integer(layer, 3, 1, 1, max_window), down = integer(layer, 13, across, 1, max_window);
  const std::int64_t count = integer(layer, 6, 0, 1, max_elements);
  if (count != outputs * channels * width * height) {
    fail(layer, "has " + std::to_string(count) + " weights, which do not fit the " + std::to_string(channels) +
                    " channels of its input");
  }
  weights = {count, integer(layer, 5, 0, 0, 1) * outputs};
  return {outputs, (in[0][1] - 1) * down + height, (in[0][2] - 1) * across + width};
}

Shape pooling(const Layer& layer, const std::vector<Shape>& in, Weights&) {
  expect_rank(layer, in[0], 3);
  integer(layer, 0, 0, 0, 1);
  if (integer(layer, 4, 0, 0, 1)) return {in[0][0]};  // global
  if (integer(layer, 5, 0, 0, 1) != 1) fail(layer, "its padding mode is not supported");
  const std::int64_t kernel = integer(layer, 1, 0, 1, max_window), stride = integer(layer, 2, 1, 1, max_window);
  const std::int64_t left = integer(layer, 3, 0, 0, max_window), top = integer(layer, 13, left, 0, max_window);
  const Window across{kernel, 1, stride, left, integer(layer, 14, left, 0, max_window)};
  const Window down{integer(layer, 11, kernel, 1, max_window), 1, integer(layer, 12, stride, 1, max_window), top,
                    integer(layer, 15, top, 0, max_window)};
  return {in[0][0], down.output(layer, in[0][1]), across.output(layer, in[0][2])};
}

Shape same(const Layer&, const std::vector<Shape>& in, Weights&) { return in[0]; }

Shape softmax(const Layer& layer, const std::vector<Shape>& in, Weights&) {
  axis_of(layer, 0, in[0].size());
  return in[0];
}

Shape binary(const Layer& layer, const std::vector<Shape>& in, Weights&) {
  const bool scalar = integer(layer, 1, 0, 0, 1) == 1;
  integer(layer, 0, 0, 0, 12);
  if (!scalar) expect_at_most_3(layer, in[0]);
  if (in.size() != (scalar ? 1u : 2u)) fail(layer, "takes " + std::string(scalar ? "one input" : "two inputs"));
  if (scalar) return in[0];
  if (in[0].size() != in[1].size()) fail(layer, "its inputs differ in dimensions");
  Shape out;
  for (std::size_t d = 0; d < in[0].size(); ++d) {
    if (in[0][d] != in[1][d] && in[0][d] != 1 && in[1][d] != 1) fail(layer, "its inputs differ in shape");
    out.push_back(std::max(in[0][d], in[1][d]));
  }
  return out;
}

Shape concat(const Layer& layer, const std::vector<Shape>& in, Weights&) {
  expect_at_most_3(layer, in[0]);
  const std::size_t axis = axis_of(layer, 0, in[0].size());
  Shape out = in[0];
  for (std::size_t i = 1; i < in.size(); ++i) {
    Shape other = in[i];
    if (other.size() != out.size()) fail(layer, "its inputs differ in dimensions");
    const std::int64_t sum = out[axis] + other[axis];
    other[axis] = out[axis];
    if (other != out) fail(layer, "its inputs differ in shape");
    out[axis] = sum;
  }
  return out;
}

Shape interp(const Layer& layer, const std::vector<Shape>& in, Weights&) {
  expect_rank(layer, in[0], 3);
  integer(layer, 0, 0, 1, 3);
  const std::int64_t height = integer(layer, 3, 0, 0, 1 << 14), width = integer(layer, 4, 0, 0, 1 << 14);
  if (height && width) return {in[0][0], height, width};
  if (height || width) fail(layer, "has only one of height and width");
  Shape out = in[0];
  for (const int side : {1, 2}) {
    const auto scale = layer.parameters.find(side);
    // Sixteenths are exact in any float arithmetic, so ncnn gets the same size.
    const double parts = scale == layer.parameters.end() ? 16 : scale->second.array ? 0 : 16 * scale->second.values[0];
    if (!(parts >= 1 && parts <= 1024) || parts != static_cast<double>(static_cast<std::int64_t>(parts))) {
      fail(layer, "its scale is out of range, expected a multiple of 1/16 up to 64");
    }
    auto& length = out[static_cast<std::size_t>(side)];
    length = length * static_cast<std::int64_t>(parts) / 16;
  }
  return out;
}

Shape reshape(const Layer& layer, const std::vector<Shape>& in, Weights&) {
  Shape out;
  for (const int key : {2, 11, 1, 0}) {  // c, d, h, w
    if (key == 11 && !layer.parameters.count(key)) continue;
    if (layer.parameters.count(key)) {
      out.push_back(integer(layer, key, 0, -1, max_elements));
    } else if (!out.empty()) {
      fail(layer, "its shape has a gap");
    }
  }
  if (out.empty() || (layer.parameters.count(11) && out.size() < 4)) fail(layer, "has no shape, or one with a gap");
  const std::int64_t total = elements(layer, in[0]);
  std::int64_t known = 1;
  std::size_t open = out.size();
  for (std::size_t d = 0; d < out.size(); ++d) {
    if (out[d] == 0) fail(layer, "a side of 0 is not supported");
    if (out[d] == -1) {
      if (open != out.size()) fail(layer, "has two open sides");
      open = d;
    } else {
      known *= out[d];
      if (known > max_elements) break;
    }
  }
  if (open != out.size() && known <= total && total % known == 0) out[open] = total / known;
  if (elements(layer, out) != total) fail(layer, "its shape does not hold the " + std::to_string(total) + " elements");
  return out;
}

Shape permute(const Layer& layer, const std::vector<Shape>& in, Weights&) {
  const Shape& s = in[0];
  if (s.size() == 2) return integer(layer, 0, 0, 0, 1) ? Shape{s[1], s[0]} : s;
  if (s.size() == 4) {  // ncnn's order types, as the source axis of each of {c, d, h, w}
    static constexpr int orders[24][4] = {
        {0, 1, 2, 3}, {0, 1, 3, 2}, {0, 2, 1, 3}, {0, 2, 3, 1}, {0, 3, 1, 2}, {0, 3, 2, 1}, {1, 0, 2, 3}, {1, 0, 3, 2},
        {1, 2, 0, 3}, {1, 2, 3, 0}, {1, 3, 0, 2}, {1, 3, 2, 0}, {2, 0, 1, 3}, {2, 0, 3, 1}, {2, 1, 0, 3}, {2, 1, 3, 0},
        {2, 3, 0, 1}, {2, 3, 1, 0}, {3, 0, 1, 2}, {3, 0, 2, 1}, {3, 1, 0, 2}, {3, 1, 2, 0}, {3, 2, 0, 1}, {3, 2, 1, 0}};
    Shape out;
    for (const int side : orders[integer(layer, 0, 0, 0, 23)]) out.push_back(s[static_cast<std::size_t>(side)]);
    return out;
  }
  expect_rank(layer, s, 3);
  const std::int64_t c = s[0], h = s[1], w = s[2];  // ncnn's order types, as {c, h, w}
  const Shape orders[] = {{c, h, w}, {c, w, h}, {h, c, w}, {h, w, c}, {w, c, h}, {w, h, c}};
  return orders[integer(layer, 0, 0, 0, 5)];
}

Shape matmul(const Layer& layer, const std::vector<Shape>& in, Weights&) {
  const Shape &a = in[0], &b = in[1];
  const std::size_t rank = a.size();
  if (rank < 2 || b.size() != rank) fail(layer, "takes two blobs of 2 to 4 dimensions");
  const bool transposed = integer(layer, 0, 0, 0, 1) == 1;
  const std::int64_t inner = transposed ? b[rank - 1] : b[rank - 2], columns = transposed ? b[rank - 2] : b[rank - 1];
  const auto batch = static_cast<std::ptrdiff_t>(rank) - 2;
  if (a[rank - 1] != inner || !std::equal(a.begin(), a.begin() + batch, b.begin())) {
    fail(layer, "its inputs differ in shape");
  }
  Shape out = a;
  out[rank - 1] = columns;
  return out;
}

/// Pads a map with zeros or another constant.
Shape padding(const Layer& layer, const std::vector<Shape>& in, Weights&) {
  expect_rank(layer, in[0], 3);
  const auto side = [&](int key) { return integer(layer, key, 0, 0, max_window); };
  for (const int key : {4, 6, 7, 8}) integer(layer, key, 0, 0, 0);
  return {in[0][0], in[0][1] + side(0) + side(1), in[0][2] + side(2) + side(3)};
}

/// Sum, mean, maximum, ... over the axes listed in parameter 3, or over all.
Shape reduction(const Layer& layer, const std::vector<Shape>& in, Weights&) {
  expect_at_most_3(layer, in[0]);
  integer(layer, 0, 0, 0, 10);
  integer(layer, 5, 0, 0, 1);
  const bool keep = integer(layer, 4, 0, 0, 1) == 1;
  const auto rank = static_cast<std::int64_t>(in[0].size());
  std::vector<bool> gone(in[0].size(), integer(layer, 1, 1, 0, 1) == 1);
  const auto axes = layer.parameters.find(3);
  if (axes != layer.parameters.end() && !gone[0]) {
    if (!axes->second.array || axes->second.real) fail(layer, "its axes are not a list of whole numbers");
    for (const double axis : axes->second.values) {
      if (!(axis >= static_cast<double>(-rank) && axis < static_cast<double>(rank)))
        fail(layer, "has an axis out of range");
      gone[static_cast<std::size_t>(axis < 0 ? axis + static_cast<double>(rank) : axis)] = true;
    }
  }
  Shape out;
  for (std::size_t d = 0; d < gone.size(); ++d) {
    if (!gone[d] || keep) out.push_back(gone[d] ? 1 : in[0][d]);
  }
  return out.empty() ? Shape{1} : out;
}

/// A classifier's last layer.
Shape inner_product(const Layer& layer, const std::vector<Shape>& in, Weights& weights) {
  expect_rank(layer, in[0], 1);
  const std::int64_t outputs = integer(layer, 0, 0, 1, 1 << 20), count = integer(layer, 2, 0, 1, max_elements);
  integer(layer, 8, 0, 0, 0);
  if (count != outputs * in[0][0]) {
    fail(layer, "has " + std::to_string(count) + " weights, which do not fit the " + std::to_string(in[0][0]) +
                    " values of its input");
  }
  weights = {count, integer(layer, 1, 0, 0, 1) * outputs};
  return {outputs};
}

Shape flatten(const Layer& layer, const std::vector<Shape>& in, Weights&) { return {elements(layer, in[0])}; }

Shape memory_data(const Layer& layer, const std::vector<Shape>&, Weights& weights) {
  Shape out;
  for (const int key : {2, 1, 0}) {  // c, h, w; 0: none
    const std::int64_t side = integer(layer, key, 0, 0, max_elements);
    if (side || !out.empty()) out.push_back(side);
  }
  weights.plain = elements(layer, out.empty() ? Shape{0} : out);
  return out;
}

}  // namespace

std::int64_t integer(const Layer& layer, int key, std::int64_t fallback, std::int64_t low, std::int64_t high) {
  const auto found = layer.parameters.find(key);
  const bool present = found != layer.parameters.end();
  const bool whole = !present || (!found->second.array && !found->second.real);
  const std::int64_t value = present && whole ? static_cast<std::int64_t>(found->second.values[0]) : fallback;
  if (!whole || value < low || value > high) {
    fail(layer, "parameter " + std::to_string(key) + " is out of range, expected a whole number from " +
                    std::to_string(low) + " to " + std::to_string(high));
  }
  return value;
}

void expect_rank(const Layer& layer, const Shape& shape, std::size_t rank) {
  if (shape.size() != rank) {
    fail(layer, "takes a blob of " + std::to_string(rank) + " dimensions, got " + std::to_string(shape.size()));
  }
}

std::int64_t elements(const Layer& layer, const Shape& shape) {
  std::int64_t count = 1;
  for (const std::int64_t side : shape) {
    if (side < 1) fail(layer, "produces an empty blob");
    count *= side;
    if (count > max_elements) fail(layer, "produces a blob of more than 2^28 elements");
  }
  return count;
}

const std::map<std::string, KnownLayer>& known_layers() {
  static const std::vector<int> window = {0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12, 13, 14, 15, 16, 18};
  static const std::vector<int> grouped = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 18};
  static const std::map<std::string, KnownLayer> layers = {
      {"Convolution", {1, 1, window, convolution}},
      {"ConvolutionDepthWise", {1, 1, grouped, convolution}},
      {"Deconvolution", {1, 1, {0, 1, 2, 3, 4, 5, 6, 11, 12, 13, 14, 18, 19}, deconvolution}},
      {"Pooling", {1, 1, {0, 1, 2, 3, 4, 5, 6, 11, 12, 13, 14, 15}, pooling}},
      {"BinaryOp", {any, 1, {0, 1, 2}, binary}},
      {"Concat", {any, 1, {0}, concat}},
      {"Interp", {1, 1, {0, 1, 2, 3, 4, 6}, interp}},
      {"Reshape", {1, 1, {0, 1, 2, 11}, reshape}},
      {"Padding", {1, 1, {0, 1, 2, 3, 4, 5, 6, 7, 8}, padding}},
      {"Reduction", {1, 1, {0, 1, 2, 3, 4, 5}, reduction}},
      {"InnerProduct", {1, 1, {0, 1, 2, 8, 9, 10}, inner_product}},
      {"Flatten", {1, 1, {}, flatten}},
      {"Permute", {1, 1, {0}, permute}},
      {"MatMul", {2, 1, {0}, matmul}},
      {"MemoryData", {0, 1, {0, 1, 2}, memory_data}},
      {"Softmax", {1, 1, {0, 1}, softmax}},
      {"Split", {1, any, {}, same}},
      {"Slice", {1, any, {0, 1}, nullptr}},  // several shapes: see slice()
      {"Noop", {1, 1, {}, same}},
      {"Swish", {1, 1, {}, same}},
      {"Sigmoid", {1, 1, {}, same}},
      {"UnaryOp", {1, 1, {0}, same}},
      {"ReLU", {1, 1, {0}, same}},
      {"TanH", {1, 1, {}, same}},
      {"Mish", {1, 1, {}, same}},
      {"GELU", {1, 1, {0}, same}},
      {"Clip", {1, 1, {0, 1}, same}},
      {"HardSwish", {1, 1, {0, 1}, same}},
      {"HardSigmoid", {1, 1, {0, 1}, same}},
      {"Dropout", {1, 1, {0}, same}},
  };
  return layers;
}

std::vector<Shape> slice(const Layer& layer, const Shape& in) {
  const std::size_t axis = axis_of(layer, 1, in.size());
  const auto sizes = layer.parameters.find(0);
  if (sizes == layer.parameters.end() || !sizes->second.array || sizes->second.real ||
      sizes->second.values.size() != layer.tops.size()) {
    fail(layer, "needs a size for each of its " + std::to_string(layer.tops.size()) + " outputs");
  }
  std::vector<Shape> out;
  std::int64_t left = in[axis];
  for (std::size_t i = 0; i < layer.tops.size(); ++i) {
    const double size = sizes->second.values[i];
    const std::int64_t side = size == -233 ? left / static_cast<std::int64_t>(layer.tops.size() - i)
                              : size >= 1 && size <= static_cast<double>(left) ? static_cast<std::int64_t>(size)
                                                                               : 0;
    if (side < 1) fail(layer, "its sizes do not fit the " + std::to_string(in[axis]) + " it divides");
    left -= side;
    out.push_back(in);
    out.back()[axis] = side;
  }
  return out;
}

}  // namespace yolort::ncnn_graph
