#pragma once
#include <map>
#include <string_view>

namespace xinslm::mps {

/// The texts of the Metal libraries by name, common.metal in front of each. Written by embed.cmake.
const std::map<std::string_view, const char*>& metal_sources();

}  // namespace xinslm::mps
