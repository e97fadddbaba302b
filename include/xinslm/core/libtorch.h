#pragma once
#include <string>

namespace xinslm {

/// Version of the LibTorch that the program was compiled with, for example "2.13.0".
std::string libtorch_version();

/// The file that LibTorch's operators were loaded from.
std::string libtorch_path();

}  // namespace xinslm
