#pragma once
#include <string>

namespace simulator {

/// " (FILE.metal:LINE)" of an instruction of this program, by addr2line; "" where it cannot tell.
std::string source_line(const void* instruction);

}  // namespace simulator
