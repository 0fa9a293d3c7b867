#include "engines/onnxruntime/profile.h"

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include "check.h"

using namespace yolort;
using namespace yolort::ort;

namespace {

std::string event(const std::string& cat, const std::string& name, int start, int duration, const std::string& args) {
  return "{\"cat\" : \"" + cat + "\",\"pid\" :1,\"tid\" :1,\"dur\" :" + std::to_string(duration) +
         ",\"ts\" :" + std::to_string(start) + ",\"ph\" : \"X\",\"name\" :\"" + name + "\",\"args\" : {" + args +
         "}},\n";
}
std::string conv(const std::string& name, int start, int duration) {
  return event("Node", name + "_kernel_time", start, duration,
               "\"sizes\" : [{\"float\":[1,3]}],\"op_name\" : \"Conv\",\"provider\" : \"CPUExecutionProvider\"");
}
std::string run(int start) { return event("Session", "model_run", start, 10, ""); }

std::vector<LayerTime> read(const std::string& trace) {
  std::istringstream stream(trace);
  return mean_times(stream);
}

void test_means_without_the_first_run() {
  const std::string all = "[\n" + event("Session", "session_initialization", 1, 9, "") + conv("a", 11, 5000) + run(10) +
                          conv("a", 21, 1000) + conv("b", 23, 500) + run(20) + conv("a", 31, 3000) +
                          conv("b", 34, 1500) + run(30) + "]\n";
  const std::vector<LayerTime> times = read(all);
  CHECK(times.size() == 2);
  CHECK(times[0].name == "a" && times[0].type == "Conv" && times[0].ms == 2.0);
  CHECK(times[1].name == "b" && times[1].ms == 1.0);
}

void test_a_single_run_counts() {
  const std::vector<LayerTime> times = read("[\n" + conv("a", 11, 5000) + run(10) + "]\n");
  CHECK(times.size() == 1 && times[0].ms == 5.0);
}

void test_what_is_no_event_is_left_out() {
  const std::string others = event("Node", "a_fence_before", 12, 7, "\"op_name\" : \"Conv\"") +
                             event("Session", "b_kernel_time", 13, 7, "") + "{\"cat\" : \"Node\", \n{}\n}\nnothing\n\n";
  CHECK(read(others).empty());
  CHECK(read("").empty());
  CHECK(read(others + conv("a", 14, 1000)).size() == 1);
}

void test_the_folder_is_temporary_unless_it_was_asked_for() {
  namespace fs = std::filesystem;
  fs::path folder;
  {
    const TraceFolder traces("");
    folder = fs::path(traces.prefix()).parent_path();
    std::ofstream(traces.prefix() + "_1.json") << "[]";
    CHECK(fs::is_directory(folder));
  }
  CHECK(!fs::exists(folder));
  CHECK(TraceFolder("somewhere/trace").prefix() == "somewhere/trace");
}

}  // namespace

int main() {
  test_means_without_the_first_run();
  test_a_single_run_counts();
  test_what_is_no_event_is_left_out();
  test_the_folder_is_temporary_unless_it_was_asked_for();
  return check::result();
}
