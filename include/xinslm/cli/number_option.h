#pragma once
#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>
#include <vector>

#include "xinslm/config/field.h"

namespace xinslm::cli {

/// Options that take a number. What they may be is a Rule, as for the keys of a configuration, and they are read and
/// refused in the same way.
///
/// @param names  as CLI11 takes them, the long one last: "-n,--number"
CLI::Option* add_number(CLI::App& command, const std::string& names, int64_t& value, const Rule& rule,
                        const std::string& help);
CLI::Option* add_number(CLI::App& command, const std::string& names, double& value, const Rule& rule,
                        const std::string& help);

/// Several numbers with commas between them; they replace those in `values`.
CLI::Option* add_numbers(CLI::App& command, const std::string& names, std::vector<int64_t>& values, const Rule& rule,
                         const std::string& help);

}  // namespace xinslm::cli
