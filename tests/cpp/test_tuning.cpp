// Records of `yolort tune`: which are used, which are ignored, and hostile ones.
#include "core/tuning.h"

#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "check.h"
#include "environment.h"

using namespace yolort;
namespace fs = std::filesystem;

namespace {

const fs::path folder = fs::temp_directory_path() / ("yolort_test_tuning_" + std::to_string(getpid()));

void write(const fs::path& path, const std::string& text) {
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << text;
}

ModelSpec model() {
  ModelSpec spec;
  spec.path = (folder / "m.onnx").string();
  spec.graph = spec.path;
  return spec;
}

std::string record(const std::string& changes = "", const std::string& of = machine()) {
  return "{\"format\": 1, \"machine\": \"" + of +
         "\", \"bytes\": 5, \"engine\": \"ncnn\", \"device\": \"cpu\", "
         "\"precision\": \"bf16\", \"threads\": 2, \"use\": \"\"" +
         changes + "}";
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  return text.replace(text.find(from), from.size(), to);
}

void test_where_records_lie() {
  const auto paths = tuning_paths((folder / "m_ncnn_model/").string());
  CHECK(paths.size() == 2 && paths[0] == folder / "m_ncnn_model.tuned.json");
  CHECK(paths[1].parent_path() == folder / "cache" / "tuned");
  CHECK(paths == tuning_paths((folder / "x" / ".." / "m_ncnn_model").string()));
  CHECK(paths[1] != tuning_paths((folder / "y" / "m_ncnn_model").string())[1]);
}

void test_what_counts() {
  const auto paths = tuning_paths(model().path);
  CHECK(!find_tuning(model()));
  for (const fs::path& path : {paths[1], paths[0]}) {
    write(path, record());
    const auto found = find_tuning(model());
    CHECK(found && found->engine == "ncnn" && found->precision == "bf16" && found->threads == 2 && found->use.empty());
  }
  write(paths[1], "damaged");  // the one beside the model comes first
  CHECK(find_tuning(model()).has_value());
  fs::remove(paths[1]);

  write(paths[0], record("", "another processor, 64 cores"));
  CHECK(!find_tuning(model()));
  write(paths[0], replaced(record(), "\"bytes\": 5", "\"bytes\": 6"));
  CHECK(!find_tuning(model()));
  write(paths[0], replaced(record(), "\"format\": 1", "\"format\": 2, \"new\": [1]"));
  CHECK(!find_tuning(model()));
}

void test_damaged() {
  const fs::path path = tuning_paths(model().path)[0];
  for (const std::string& text : {
           std::string(),
           std::string("[1]"),
           record().substr(0, 40),
           std::string(2 << 20, ' '),
           std::string(100000, '['),
           replaced(record(), "\"threads\": 2", "\"threads\": 0"),
           replaced(record(), "\"threads\": 2", "\"threads\": \"two\""),
           replaced(record(), "\"engine\"", "\"motor\""),
           replaced(record(), "bf16", "int4"),
           replaced(record(), "\"use\": \"\"", "\"use\": \"../../etc\""),
           replaced(record(), "\"use\": \"\"", "\"use\": \"..\""),
           replaced(record(), "\"bytes\": 5", "\"bytes\": 1e99"),
       }) {
    write(path, text);
    CHECK_THROWS(find_tuning(model()), ModelError, "run yolort tune again");
  }
}

}  // namespace

int main() {
  check::set_variable("YOLORT_CACHE", (folder / "cache").string());
  write(folder / "m.onnx", "12345");
  test_where_records_lie();
  test_what_counts();
  test_damaged();
  fs::remove_all(folder);
  return check::result();
}
