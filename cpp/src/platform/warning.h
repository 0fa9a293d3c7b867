// Warnings to the user.
#pragma once

#include <functional>
#include <string>

namespace yolort {

/// Hands a sentence to the handler; without one it is lost, as a library prints nothing.
void warn(const std::string& text);

/// Thread-safe.
void set_warning_handler(std::function<void(const std::string&)> handler);

}  // namespace yolort
