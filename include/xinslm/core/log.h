#pragma once
#include <string>

// The log goes to standard error; results of commands go to standard output and never through here.
namespace xinslm::log {

enum class Level { debug, info, warning, error, off };

/// Messages below this level are dropped. The default is info.
void set_level(Level level);

/// Adds a copy of every message, with time stamps, to the file (appending).
/// @throws Error(data) when the file cannot be opened
void add_file(const std::string& path);

void debug(const std::string& message);
void info(const std::string& message);
void warning(const std::string& message);
void error(const std::string& message);

}  // namespace xinslm::log
