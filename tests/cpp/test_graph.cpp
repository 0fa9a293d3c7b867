// Finds where to cut a graph that decodes its boxes; reads and rewrites ONNX graphs.
#include "model/graph.h"

#include <sstream>
#include <string>
#include <vector>

#include "check.h"
#include "model/onnx_graph.h"
#include "model/value.h"
#include "onnx_bytes.h"

using namespace yolort;

namespace {

using Names = std::vector<std::string>;

/// The end of a YOLOv8 as Ultralytics exports it, with two levels.
Graph decoded_head() {
  Graph graph;
  graph.nodes = {
      {"Conv", {"p3", "w"}, {"box3"}},
      {"Conv", {"p3", "w"}, {"class3"}},
      {"Conv", {"p4", "w"}, {"box4"}},
      {"Conv", {"p4", "w"}, {"class4"}},
      {"Constant", {}, {"anchors"}},
      {"Reshape", {"box3", "size"}, {"b3"}},
      {"Reshape", {"box4", "size"}, {"b4"}},
      {"Reshape", {"class3", "size"}, {"c3"}},
      {"Reshape", {"class4", "size"}, {"c4"}},
      {"Concat", {"b3", "b4"}, {"b"}},
      {"Concat", {"c3", "c4"}, {"c"}},
      {"Reshape", {"b", "size"}, {"bins"}},
      {"Transpose", {"bins"}, {"turned"}},
      {"Softmax", {"turned"}, {"shares"}},
      {"Conv", {"shares", "arange"}, {"mean"}},
      {"Split", {"mean"}, {"lt", "rb"}},
      {"Sub", {"anchors", "lt"}, {"x1"}},
      {"Add", {"anchors", "rb"}, {"x2"}},
      {"Concat", {"x1", "x2"}, {"xy"}},
      {"Sigmoid", {"c"}, {"scores"}},
      {"Concat", {"xy", "scores"}, {"out"}},
  };
  graph.outputs = {"out"};
  return graph;
}

GraphNode& node_of(Graph& graph, const std::string& output) {
  for (GraphNode& node : graph.nodes) {
    if (node.outputs[0] == output) return node;
  }
  return graph.nodes.front();
}

const Names maps = {"box3", "class3", "box4", "class4"};

void test_maps_are_found() {
  Graph graph = decoded_head();
  CHECK(find_raw_maps(graph) == maps);

  node_of(graph, "mean") = {"Identity", {"nothing"}, {"unused"}};  // YOLO26 has no distribution
  node_of(graph, "lt").inputs = {"b"};
  CHECK(find_raw_maps(graph) == maps);

  graph.nodes.push_back({"Shape", {"p3"}, {"size3"}});  // a dynamic graph computes its anchors
  node_of(graph, "anchors") = {"Range", {"size3"}, {"anchors"}};
  CHECK(find_raw_maps(graph) == maps);
}

/// Adds a third map per level after boxes and scores.
Graph task_head() {
  Graph graph = decoded_head();
  graph.nodes.push_back({"Conv", {"p3", "w"}, {"extra3"}});
  graph.nodes.push_back({"Conv", {"p4", "w"}, {"extra4"}});
  graph.nodes.push_back({"Reshape", {"extra3", "size"}, {"e3"}});
  graph.nodes.push_back({"Reshape", {"extra4", "size"}, {"e4"}});
  graph.nodes.push_back({"Concat", {"e3", "e4"}, {"e"}});
  graph.nodes.push_back({"Mul", {"e", "anchors"}, {"decoded"}});
  graph.nodes.push_back({"Concat", {"out", "decoded"}, {"all"}});
  graph.outputs = {"all"};
  return graph;
}

const Names task_maps = {"box3", "class3", "extra3", "box4", "class4", "extra4"};

void test_maps_of_tasks() {
  Graph graph = task_head();
  CHECK(find_raw_maps(graph, Task::pose) == task_maps);
  CHECK(find_raw_maps(graph).empty() && find_raw_maps(graph, Task::segment).empty());
  CHECK(find_raw_maps(decoded_head(), Task::pose).empty());
  node_of(graph, "all").inputs = {"xy", "scores", "decoded"};
  CHECK(find_raw_maps(graph, Task::pose) == task_maps);
  graph.nodes.push_back({"Transpose", {"all"}, {"rows"}});  // the best rows are chosen
  graph.nodes.push_back({"TopK", {"rows"}, {"best"}});
  graph.nodes.push_back({"Gather", {"rows", "best"}, {"chosen"}});
  graph.outputs = {"chosen"};
  CHECK(find_raw_maps(graph, Task::pose) == task_maps);
  node_of(graph, "e").inputs = {"e3"};
  CHECK(find_raw_maps(graph, Task::pose).empty());
}

/// The angle is a sigmoid, like the scores, and rotates the box.
void test_maps_of_turned_boxes() {
  Graph graph = task_head();
  node_of(graph, "decoded") = {"Sigmoid", {"e"}, {"decoded"}};
  graph.nodes.push_back({"Cos", {"decoded"}, {"cos"}});
  graph.nodes.push_back({"Mul", {"x1", "cos"}, {"turned1"}});
  node_of(graph, "xy").inputs = {"turned1", "x2"};
  CHECK(find_raw_maps(graph, Task::obb) == task_maps);
  node_of(graph, "cos").type = "Exp";
  CHECK(find_raw_maps(graph, Task::obb).empty());
}

void test_prototypes_come_last() {
  Graph graph = task_head();
  graph.nodes.push_back({"Conv", {"p3", "w"}, {"unbent"}});
  graph.nodes.push_back({"Sigmoid", {"unbent"}, {"bend"}});
  graph.nodes.push_back({"Mul", {"unbent", "bend"}, {"proto"}});
  Names expected = task_maps;
  expected.push_back("proto");
  for (const Names& outputs : {Names{"all", "proto"}, Names{"proto", "all"}}) {
    graph.outputs = outputs;
    CHECK(find_raw_maps(graph, Task::segment) == expected);
  }
  graph.outputs = {"all", "all"};
  CHECK(find_raw_maps(graph, Task::segment) != expected);
}

void test_bias_of_openvino() {
  Graph graph = decoded_head();
  node_of(graph, "box3") = {"Convolution", {"p3", "w"}, {"unbiased"}};
  graph.nodes.push_back({"Const", {}, {"halves"}});
  graph.nodes.push_back({"Convert", {"halves"}, {"bias"}});
  graph.nodes.push_back({"Add", {"unbiased", "bias"}, {"box3"}});
  CHECK(find_raw_maps(graph) == maps);
  node_of(graph, "bias") = {"Multiply", {"p3", "p3"}, {"bias"}};
  CHECK(find_raw_maps(graph).empty());
}

void test_pairs_of_older_exports() {
  Graph graph = decoded_head();
  graph.nodes.push_back({"Concat", {"box3", "class3"}, {"pair3"}});
  graph.nodes.push_back({"Concat", {"box4", "class4"}, {"pair4"}});
  node_of(graph, "b3").inputs[0] = "pair3";
  node_of(graph, "b4").inputs[0] = "pair4";
  node_of(graph, "c") = {"Split", {"b"}, {"boxes", "c"}};
  CHECK(find_raw_maps(graph) == maps);

  graph = task_head();
  graph.nodes.push_back({"Concat", {"box3", "class3"}, {"pair3"}});
  graph.nodes.push_back({"Concat", {"box4", "class4"}, {"pair4"}});
  node_of(graph, "b3").inputs[0] = "pair3";
  node_of(graph, "b4").inputs[0] = "pair4";
  node_of(graph, "c") = {"Split", {"b"}, {"boxes", "c"}};
  CHECK(find_raw_maps(graph, Task::pose) == task_maps);
}

/// Each change gives a different tail, whose maps would be misread.
void test_other_tails_stay_whole() {
  const auto refused = [](const std::string& output, GraphNode changed) {
    Graph graph = decoded_head();
    node_of(graph, output) = std::move(changed);
    return find_raw_maps(graph).empty();
  };
  CHECK(refused("out", {"NonMaxSuppression", {"xy", "scores"}, {"out"}}));
  CHECK(refused("xy", {"Exp", {"x1", "x2"}, {"xy"}}));
  CHECK(refused("scores", {"Conv", {"c", "w"}, {"scores"}}));
  CHECK(refused("scores", {"Softmax", {"c"}, {"scores"}}));
  CHECK(refused("c3", {"Reshape", {"box3", "size"}, {"c3"}}));
  CHECK(refused("c", {"Concat", {"c3"}, {"c"}}));
  CHECK(refused("box3", {"DequantizeLinear", {"p3", "w"}, {"box3"}}));
  CHECK(refused("mean", {"Conv", {"p3", "w"}, {"mean"}}));
  Graph graph = decoded_head();
  graph.outputs.push_back("proto");
  CHECK(find_raw_maps(graph).empty());
  CHECK(find_raw_maps({}).empty());
  graph = {{{"Concat", {"out"}, {"out"}}}, {"out"}};  // a circle
  CHECK(find_raw_maps(graph).empty());
}

Graph read(const std::string& onnx) {
  std::istringstream in(onnx);
  return read_onnx_graph(in, onnx.size());
}

void test_onnx_graph() {
  const std::string node = bytes(1, "image") + bytes(1, "w") + bytes(2, "a") + bytes(2, "b") + bytes(4, "Split");
  const std::string weights = number(2, 1) + bytes(8, "w") + bytes(9, std::string(300, 'w'));
  const std::string onnx = number(1, 8) +
                           bytes(7, bytes(1, node) + bytes(5, weights) + bytes(12, bytes(1, "a") + bytes(2, "type"))) +
                           bytes(14, bytes(1, "key") + bytes(2, "value"));
  const Graph graph = read(onnx);
  CHECK(graph.nodes.size() == 2 && graph.nodes[0].type == "Split" && graph.nodes[1].type == "Constant");
  CHECK((graph.nodes[0].inputs == Names{"image", "w"} && graph.nodes[0].outputs == Names{"a", "b"}));
  CHECK((graph.outputs == Names{"a"} && !graph.external));

  const Graph cut = read(with_outputs(onnx, {"b", "image"}));
  CHECK((cut.outputs == Names{"b", "image"} && cut.nodes.size() == 2));
  CHECK(with_outputs(onnx, {"b"}).find("value") != std::string::npos);
  CHECK(read(bytes(7, bytes(5, bytes(8, "w") + number(14, 1)))).external);
  for (std::size_t size = 1; size < onnx.size(); ++size) {  // no out-of-bounds reads
    try {
      with_outputs(onnx.substr(0, size), {"b"});
      read(onnx.substr(0, size));
    } catch (const ParseError&) {
    }
  }
}

void test_signed_rounding() {
  const auto is_signed = [](const std::string& onnx) { return rounds_activations_to_int8(read(onnx)); };
  CHECK(is_signed(rounding("image", 3)) && !is_signed(rounding("image", 2)));
  CHECK(!is_signed(rounding("weights", 3)) && !is_signed(rounding("constant", 3)));
  CHECK(is_signed(rounding("image", 0, 3)) && !is_signed(rounding("image", 0)));
}

}  // namespace

int main() {
  test_maps_are_found();
  test_maps_of_tasks();
  test_maps_of_turned_boxes();
  test_prototypes_come_last();
  test_bias_of_openvino();
  test_pairs_of_older_exports();
  test_other_tails_stay_whole();
  test_onnx_graph();
  test_signed_rounding();
  return check::result();
}
