#pragma once
#include <filesystem>
#include <string>

namespace xinslm {

/// True for what can be read once only: a pipe (of a shell's <(command), or with a name), a socket, a terminal.
bool reads_once(const std::filesystem::path& path);

/// What can be read once only, as a file that can be read again: its content is copied to a temporary file the first
/// time, which the program removes when it ends.
/// @param source  "-" = standard input
/// @throws Error(data) when it cannot be read, or the folder for temporary files (TMPDIR) cannot be written
std::filesystem::path spooled(const std::string& source);

}  // namespace xinslm
