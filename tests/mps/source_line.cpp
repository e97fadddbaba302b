#include "mps/source_line.h"

#include <cstdio>
#include <filesystem>

extern "C" char __executable_start;

namespace simulator {

std::string source_line(const void* instruction) {
  if (instruction == nullptr) return "";
  const std::string program = std::filesystem::read_symlink("/proc/self/exe");
  const long offset = static_cast<const char*>(instruction) - &__executable_start - 1;
  char command[4096];
  std::snprintf(command, sizeof(command), "addr2line -e '%s' %#lx 2>/dev/null", program.c_str(), offset);
  FILE* pipe = popen(command, "r");
  if (!pipe) return "";
  char line[4096] = "";
  const bool has_line = std::fgets(line, sizeof(line), pipe) != nullptr;
  pclose(pipe);
  const std::string found = has_line ? std::filesystem::path(line).filename().string() : "";
  const size_t end = found.find_first_of(" \n");
  return found.find('?') != std::string::npos || found.empty() ? "" : " (" + found.substr(0, end) + ")";
}

}  // namespace simulator
