#include "model/model.h"

#include <unistd.h>

#include <fstream>

#include "check.h"

namespace fs = std::filesystem;
using namespace yolort;

namespace {

const fs::path folder = fs::temp_directory_path() / ("yolort_test_model_" + std::to_string(getpid()));

std::string write(const fs::path& path, const std::string& text) {
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << text;
  return path.string();
}

std::string field(int number, const std::string& bytes) {
  std::string out(1, static_cast<char>(number << 3 | 2));
  for (std::size_t n = bytes.size();; n >>= 7) {
    out += static_cast<char>((n & 0x7F) | (n > 0x7F ? 0x80 : 0));
    if (n <= 0x7F) return out + bytes;
  }
}

/// A ModelProto with ir_version, an opaque graph and metadata.
std::string onnx(const std::map<std::string, std::string>& metadata) {
  std::string out = std::string("\x08\x08", 2) + field(7, std::string(5000, 'g'));
  for (const auto& [key, value] : metadata) out += field(14, field(1, key) + field(2, value));
  return out;
}

ModelSpec read_onnx(const std::map<std::string, std::string>& metadata) {
  return read_model(write(folder / "m.onnx", onnx(metadata)));
}

ModelSpec read_ncnn(const std::string& yaml) {
  fs::remove_all(folder / "m_ncnn_model");
  write(folder / "m_ncnn_model/model.ncnn.param", "7767517\n");
  write(folder / "m_ncnn_model/model.ncnn.bin", "x");
  if (!yaml.empty()) write(folder / "m_ncnn_model/metadata.yaml", yaml);
  return read_model((folder / "m_ncnn_model").string());
}

const char* raw = R"({"format": 1, "head": "raw-e2e", "strides": [8, 16, 32], "reg_max": 1,
                     "input": {"shape": [1, 3, 64, 96], "colour": "rgb", "scale": 255, "pad": 114},
                     "precision": "fp32"})";

void test_what_may_be_cut() {
  const auto of = [](const std::string& yaml) { return read_ncnn(yaml).may_be_cut(); };
  CHECK(of("author: Ultralytics\ntask: detect\n") && of("author: Ultralytics\nend2end: true\n"));
  CHECK(!of("task: detect\n") && !of("author: somebody\n") && of("author: Ultralytics\ntask: segment\n"));
  CHECK(!of("author: Ultralytics\ntask: obb\n") && of("author: Ultralytics\ntask: obb\nhead: OBB26\n"));
  ModelSpec spec = read_ncnn("author: Ultralytics\n");
  fs::resize_file(spec.weights, std::uintmax_t{1} << 40);  // too large to be rewritten in memory
  CHECK(!spec.may_be_cut());
}

void test_models_in_memory() {
  const std::string bytes = onnx({{"names", "{0: 'a'}"}, {"imgsz", "[64, 96]"}});
  const ModelSpec spec = read_model(bytes, "onnx");
  CHECK(spec.format == Format::onnx && spec.names.size() == 1 && spec.height == 64 && spec.width == 96);
  CHECK(spec.contents.data() == bytes.data() && spec.graph.empty());
  CHECK_THROWS(read_model(std::string_view(bytes).substr(0, bytes.size() - 1), "onnx"), ModelError, "truncated");
  CHECK_THROWS(read_model(std::string_view(), "onnx"), ModelError, "model \"in memory\": it is empty");
  CHECK_THROWS(read_model(bytes, "abacus"), std::invalid_argument, "expected onnx or tensorrt");
  const std::string header = R"({"names": {"0": "a"}, "imgsz": [32, 32]})";
  std::string plan(4, '\0');
  plan[0] = static_cast<char>(header.size());
  CHECK(read_model(plan + header + "plan", "tensorrt").plan == 4 + header.size());
  CHECK_THROWS(read_model("abc", "tensorrt"), ModelError, "truncated");
}

void test_ultralytics_onnx() {
  const ModelSpec boxes = read_onnx({{"names", "{0: 'a', 1: \"driver's\"}"},
                                     {"imgsz", "[384, 640]"},
                                     {"task", "detect"},
                                     {"stride", "32"},
                                     {"end2end", "False"},
                                     {"args", "{'batch': 1, 'nms': False}"}});
  CHECK(boxes.format == Format::onnx);
  CHECK(boxes.names == (std::vector<std::string>{"a", "driver's"}));
  CHECK(boxes.height == 384 && boxes.width == 640);
  CHECK(boxes.layout.head == Head::boxes && boxes.layout.nms);
  CHECK(boxes.metadata.at("stride") == "32");
  CHECK(boxes.precision.empty());
  for (const char* args : {"{'quantize': 8}", "{'int8': True, 'quantize': None}"}) {
    CHECK(read_onnx({{"names", "{0: 'a'}"}, {"args", args}}).precision == "int8");
  }
  for (const std::map<std::string, std::string>& flags :
       {std::map<std::string, std::string>{{"names", "{0: 'a'}"}, {"end2end", "True"}},
        {{"names", "{0: 'a'}"}, {"end2end", "False"}, {"args", "{'nms': True}"}}}) {
    const ModelSpec end2end = read_onnx(flags);
    CHECK(end2end.layout.head == Head::end2end && !end2end.layout.nms);
  }
  const ModelSpec bare = read_onnx({});
  CHECK(bare.names.empty() && bare.height == 0 && bare.layout.head == Head::unknown);
}

/// Ultralytics' layout: the length of the JSON (four bytes), the JSON, the plan.
std::string with_header(const std::string& json, const std::string& plan) {
  const auto size = static_cast<std::uint32_t>(json.size());
  std::string out;
  for (int shift = 0; shift < 32; shift += 8) out += static_cast<char>(size >> shift & 0xFF);
  return out + json + plan;
}

void test_engine_header() {
  const std::string json =
      R"({"names": {"0": "a", "1": "it's"}, "imgsz": [384, 640], "end2end": false, "task": "detect",
                              "args": {"nms": false, "quantize": 8}})";
  const ModelSpec spec = read_model(write(folder / "m.engine", with_header(json, "ftrt...")));
  CHECK(spec.format == Format::tensorrt && spec.plan == 4 + json.size());
  CHECK(spec.names == (std::vector<std::string>{"a", "it's"}) && spec.height == 384 && spec.width == 640);
  CHECK(spec.layout.head == Head::boxes && spec.precision == "int8");
  const ModelSpec bare = read_model(write(folder / "bare.engine", "ftrt and what a plan holds"));
  CHECK(bare.plan == 0 && bare.names.empty() && bare.layout.head == Head::unknown);
  const auto fails = [](const std::string& bytes, const char* why) {
    CHECK_THROWS(read_model(write(folder / "bad.engine", bytes)), ModelError, why);
  };
  fails("", "empty");
  fails("abc", "truncated");
  fails(with_header(json, "").substr(0, 40), "longer than the file");
  fails(with_header(json, "").replace(3, 1, "\x7f"), "longer than the file");
  fails(with_header("{\"names\": ", "ftrt"), "metadata header");
  fails(with_header("{" + std::string(9 << 20, ' ') + "}", "ftrt"), "8 MiB");
  fails(with_header("{\"a\": " + std::string(5000, '[') + std::string(5000, ']') + "}", "ftrt"), "nested");
  fails(with_header(R"({"names": {"0": "a", "x": "b"}})", "ftrt"), "names");
  const std::string file = (folder / "bare.engine").string();
  for (const EngineStatus& status : engines()) {
    if (status.name != "tensorrt") continue;
    if (status.available) CHECK_THROWS(Detector(file), ModelError, "cannot load it");
    if (!status.available) CHECK_THROWS(Detector(file), EngineError, "tensorrt: ");
  }
}

void test_ours() {
  const ModelSpec spec = read_onnx({{"names", "{0: 'a'}"}, {"imgsz", "64"}, {"end2end", "True"}, {"yolort", raw}});
  CHECK(spec.layout.head == Head::raw && !spec.layout.nms && spec.layout.reg_max == 1);
  CHECK(spec.layout.strides == (std::vector<int>{8, 16, 32}));
  CHECK(spec.height == 64 && spec.width == 64);
  CHECK(spec.precision == "fp32");
}

void test_ncnn_sidecar() {
  const ModelSpec spec = read_ncnn("imgsz:\n- 640\n- 320\nnames:\n  0: one\n  1: two\nargs:\n  nms: true\n");
  CHECK(spec.format == Format::ncnn && spec.graph.filename() == "model.ncnn.param" &&
        spec.weights.filename() == "model.ncnn.bin");
  CHECK(spec.names.size() == 2 && spec.width == 320);
  CHECK(spec.layout.head == Head::end2end);
  CHECK(read_model((folder / "m_ncnn_model/model.ncnn.param").string()).names.size() == 2);
  CHECK(read_ncnn("").names.empty());
}

void test_files_that_are_missing_or_no_model() {
  CHECK_THROWS(read_model((folder / "no.onnx").string()), FileNotFound, "does not exist");
  CHECK_THROWS(read_model(""), FileNotFound, "does not exist");
  CHECK_THROWS(read_model(std::string("a\0b.onnx", 8)), FileNotFound, "does not exist");
  CHECK_THROWS(read_model(write(folder / "m.pt", "x")), ModelError, "yolort export");
  CHECK_THROWS(read_model(write(folder / "empty.onnx", "")), ModelError, "empty");
  CHECK_THROWS(read_model(write(folder / "garbage.onnx", "hello, this is no protobuf")), ModelError, "ONNX");
  const std::string whole = onnx({{"names", "{0: 'a'}"}});
  for (const std::size_t length : {std::size_t{1}, std::size_t{100}, whole.size() - 3}) {
    CHECK_THROWS(read_model(write(folder / "cut.onnx", whole.substr(0, length))), ModelError, "truncated");
  }
  fs::create_directories(folder / "bare");
  CHECK_THROWS(read_model((folder / "bare").string()), ModelError, "no .param");
  write(folder / "half_ncnn_model/model.ncnn.param", "7767517\n");
  CHECK_THROWS(read_model((folder / "half_ncnn_model").string()), ModelError, "weights");
  write(folder / "two_ncnn_model/a.param", "x");
  write(folder / "two_ncnn_model/b.param", "x");
  CHECK_THROWS(read_model((folder / "two_ncnn_model").string()), ModelError, "such as");
  write(folder / "two_ncnn_model/model.ncnn.param", "7767517\n");
  write(folder / "two_ncnn_model/model.ncnn.bin", "x");
  CHECK(read_model((folder / "two_ncnn_model").string()).graph.filename() == "model.ncnn.param");
}

void test_many_names() {
  std::string names = "{";
  for (int i = 0; i < 20000; ++i) names += std::to_string(i) + ": '" + std::string(60, 'n') + "', ";
  names += "}";
  CHECK(names.size() > std::size_t{1} << 20);
  CHECK(read_onnx({{"names", names}}).names.size() == 20000);
  CHECK(read_ncnn("names: " + names).names.size() == 20000);
  CHECK(read_model(write(folder / "many.engine", with_header("{\"names\": " + names + "}", "ftrt"))).names.size() ==
        20000);
}

void test_placeholders() {
  CHECK(read_onnx({{"names", "{0: 'class0', 1: 'class1'}"}}).placeholders);
  CHECK(!read_onnx({{"names", "{0: 'class0', 1: 'class2'}"}}).placeholders && !read_onnx({}).placeholders);
}

void test_how_pixels_become_the_input() {
  const InputFormat usual = read_onnx({{"names", "{0: 'a'}"}, {"channels", "3"}}).input;
  CHECK(usual.channels == 3 && !usual.bgr && !usual.stretch && usual.mean.empty() && usual.stddev.empty());
  CHECK(read_onnx({{"channels", "6"}}).input.channels == 6 && read_onnx({}).input.channels == 0);
  const InputFormat own = read_onnx({{"names", "{0: 'a'}"}, {"yolort", R"({"format": 1, "head": "boxes", "input":
      {"colour": "bgr", "resize": "stretch", "mean": [0.5, 0, 1], "std": 0.25}})"}})
                              .input;
  CHECK(own.bgr && own.stretch == true && own.mean == (std::vector<float>{0.5f, 0, 1}) &&
        own.stddev == (std::vector<float>{0.25f}));
}

void test_tasks() {
  const ModelSpec detr = read_onnx({{"names", "{0: 'a'}"}, {"head", "RTDETRDecoder"}, {"end2end", "False"}});
  CHECK(detr.layout.transformer && detr.layout.head == Head::end2end && !detr.layout.nms && !detr.input.stretch);
  const ModelSpec classify = read_onnx({{"names", "{0: 'a'}"}, {"task", "classify"}});
  CHECK(classify.layout.task == Task::classify && classify.layout.head == Head::probs);
}

void test_hostile_metadata() {
  CHECK_THROWS(read_onnx({{"names", "__import__('os').system('touch pwned')"}}), ModelError, "names");
  CHECK_THROWS(read_onnx({{"names", "{0: __import__('os')}"}}), ModelError, "names");
  CHECK_THROWS(read_onnx({{"names", "{1000000000: 'a'}"}}), ModelError, "names");
  CHECK_THROWS(read_onnx({{"names", "{0: 'a', 0: 'b'}"}}), ModelError, "names");
  CHECK_THROWS(read_onnx({{"names", "{}"}}), ModelError, "0 classes");
  std::string many = "[";
  for (int i = 0; i < 70000; ++i) many += "'c',";
  CHECK_THROWS(read_onnx({{"names", many + "]"}}), ModelError, "70000 classes");
  CHECK_THROWS(read_onnx({{"names", "{0: '" + std::string(5000, 'x') + "'}"}}), ModelError, "1024");
  CHECK_THROWS(read_onnx({{"names", std::string(5000, '{')}}), ModelError, "nested");
  CHECK_THROWS(read_onnx({{"names", std::string(9 << 20, ' ')}}), ModelError, "8 MiB");
  for (const char* value : {"[1,", "[[],"}) {  // each takes more memory than its text
    std::string values = "[";
    for (int i = 0; i < 600000; ++i) values += value + 1;
    CHECK_THROWS(read_onnx({{"names", values + "]"}}), ModelError, "more than 524288 values");
    CHECK_THROWS(read_ncnn("names: " + values + "]"), ModelError, "more than 524288 values");
  }
  for (const char* imgsz : {"-640", "[640, -1]", "0", "999999999999", "[1, 2, 3]", "640.5", "'big'", "{}"}) {
    CHECK_THROWS(read_onnx({{"imgsz", imgsz}}), ModelError, "imgsz");
  }
  CHECK_THROWS(read_onnx({{"task", "depth"}}), ModelError, "depth");
  for (const char* channels : {"0", "-3", "513", "99999999999"}) {
    CHECK_THROWS(read_onnx({{"channels", channels}}), ModelError, "channels");
  }
  CHECK_THROWS(read_ncnn("names: !!python/object/apply:os.system [id]\n"), ModelError, "metadata.yaml");
  CHECK_THROWS(read_ncnn("just words"), ModelError, "metadata.yaml");
  CHECK_THROWS(read_ncnn(std::string(9 << 20, 'a')), ModelError, "8 MiB");
}

void test_bad_own_key() {
  const auto own = [](const std::string& json) { return read_onnx({{"names", "{0: 'a'}"}, {"yolort", json}}); };
  CHECK_THROWS(own(R"({"format": 2, "head": "raw"})"), ModelError, "newer");
  CHECK_THROWS(own(R"({"head": "raw"})"), ModelError, "format");
  CHECK_THROWS(own(R"({"format": -1})"), ModelError, "format");
  CHECK_THROWS(own(R"({"format": 1, "head": "pose"})"), ModelError, "pose");
  CHECK_THROWS(own(R"({"format": 1, "head": "raw", "reg_max": 1000000, "strides": [8]})"), ModelError, "reg_max");
  CHECK_THROWS(own(R"({"format": 1, "head": "raw", "reg_max": 1, "strides": [0]})"), ModelError, "strides");
  CHECK_THROWS(own(R"({"format": 1, "head": "raw", "reg_max": 1, "strides": []})"), ModelError, "strides");
  CHECK_THROWS(own(R"({"format": 1, "head": "raw", "reg_max": 1})"), ModelError, "strides");
  CHECK_THROWS(own(R"({"format": 1, "head": "boxes", "input": {"colour": "lab"}})"), ModelError, "colour");
  CHECK_THROWS(own(R"({"format": 1, "head": "boxes", "input": {"resize": "crop"}})"), ModelError,
               "letterbox or stretch");
  CHECK_THROWS(own(R"({"format": 1, "head": "boxes", "input": {"mean": ["a"]}})"), ModelError, "numbers");
  CHECK_THROWS(own(R"({"format": 1, "head": "boxes", "input": {"scale": 1}})"), ModelError, "scale");
  CHECK_THROWS(own("{"), ModelError, "yolort");
  CHECK_THROWS(own("[1]"), ModelError, "format");
}

}  // namespace

int main() {
  test_what_may_be_cut();
  test_models_in_memory();
  test_ultralytics_onnx();
  test_engine_header();
  test_ours();
  test_ncnn_sidecar();
  test_files_that_are_missing_or_no_model();
  test_many_names();
  test_placeholders();
  test_how_pixels_become_the_input();
  test_tasks();
  test_hostile_metadata();
  test_bad_own_key();
  fs::remove_all(folder);
  return check::result();
}
