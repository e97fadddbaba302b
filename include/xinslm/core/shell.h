#pragma once
#include <string>
#include <string_view>

namespace xinslm {

/// A word as a POSIX shell reads it back: in quotes where it has to be. For every command the program prints.
std::string shell_quoted(std::string_view word);

}  // namespace xinslm
