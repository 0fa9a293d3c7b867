// Warnings to the user.
#pragma once

#include <functional>
#include <string>

namespace yolort {

/// Passes a sentence to the handler. Without a handler it is dropped, because a library prints nothing.
void warn(const std::string& text);

/// Thread-safe.
void set_warning_handler(std::function<void(const std::string&)> handler);

}  // namespace yolort
