#include "platform/dynamic_library.h"

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "check.h"
#include "environment.h"

using namespace yolort;
namespace fs = std::filesystem;

namespace {

const fs::path folder = fs::temp_directory_path() / ("yolort_test_dynamic_library" + std::to_string(getpid()));

/// Links to the C library under another name in a folder.
void put_library(const fs::path& path) {
  void* libc = open_library("libc.so.6");
  fs::create_directories(path.parent_path());
  fs::create_symlink(library_path(find_function(libc, "abs")), path);
}

void test_names_with_and_without_a_version() {
  std::string why;
  CHECK(open_library("libm.so.6", &why) && why.empty());
  CHECK(!open_library("libnothing.so.1", &why) && why.empty());
  CHECK(open_library("libm.so", &why));  // which is libm.so.6 where no compiler is installed
}

void test_the_newest_version_in_a_folder() {
  const fs::path given = folder / "given";
  fs::create_directories(given);
  std::ofstream(given / "libyolorttest.so.1.9.0") << "no library";
  std::string why;
  check::set_variable("YOLORT_LIBRARY_PATH", ":" + (folder / "nothing").string() + ":" + given.string());
  CHECK(!open_library("libyolorttest.so", &why));
  CHECK(why.find("libyolorttest.so.1.9.0: ") != std::string::npos);
  put_library(given / "libyolorttest.so.1.10.0");
  CHECK(open_library("libyolorttest.so"));
  CHECK(!open_library("libyolorttest.so.1"));
  check::unset_variable("YOLORT_LIBRARY_PATH");
  CHECK(!open_library("libyolorttest.so"));
}

void test_libraries_of_python_packages() {
  const std::string name = "libyolortpackage.so";
  put_library(folder / "venv/lib/python3.12/site-packages/openvino/libs/libyolortpackage.so.7");
  check::set_variable("VIRTUAL_ENV", (folder / "venv").string());
  CHECK(open_library(name));
  check::unset_variable("VIRTUAL_ENV");
  CHECK(!open_library(name));
  add_package_folder(folder / "venv/lib/python3.12/site-packages");
  CHECK(open_library(name));
}

}  // namespace

int main() {
  test_names_with_and_without_a_version();
  if (!std::getenv("YOLORT_EMULATED")) {  // the library that is copied is that of this machine
    test_the_newest_version_in_a_folder();
    test_libraries_of_python_packages();
  }
  CHECK(library_path(nullptr).empty());
  fs::remove_all(folder);
  return check::result();
}
