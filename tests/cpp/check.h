// Checks for the C++ tests. A failed check prints its location, and the program exits with 1 at the end.
#pragma once

#include <cstdio>
#include <exception>
#include <string>

namespace check {

inline int failures = 0;

inline void fail(const char* file, int line, const std::string& what) {
  std::fprintf(stderr, "%s:%d: %s\n", file, line, what.c_str());
  ++failures;
}

inline int result() {
  if (failures) std::fprintf(stderr, "%d check(s) failed\n", failures);
  return failures ? 1 : 0;
}

}  // namespace check

#define CHECK(condition)                                                        \
  do {                                                                          \
    if (!(condition)) check::fail(__FILE__, __LINE__, "not true: " #condition); \
  } while (false)

/// The expression must throw `type` with `text` somewhere in the message.
#define CHECK_THROWS(expression, type, text)                                                               \
  do {                                                                                                     \
    try {                                                                                                  \
      static_cast<void>(expression);                                                                       \
      check::fail(__FILE__, __LINE__, "no exception: " #expression);                                       \
    } catch (const type& error) {                                                                          \
      if (std::string(error.what()).find(text) == std::string::npos)                                       \
        check::fail(__FILE__, __LINE__, std::string("message without '") + (text) + "': " + error.what()); \
    } catch (const std::exception& error) {                                                                \
      check::fail(__FILE__, __LINE__, std::string("another exception: ") + error.what());                  \
    }                                                                                                      \
  } while (false)
