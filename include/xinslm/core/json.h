#pragma once
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace xinslm {

/// JSON that keeps the order of its keys, so files read the way they were written.
using Json = nlohmann::ordered_json;

/// @param where  named in errors, usually the file
/// @throws Error(data) with the place of the mistake
Json parse_json(std::string_view text, const std::string& where);

/// @throws Error(data) when the file is missing or not JSON
Json read_json(const std::filesystem::path& path);

/// Writes atomically, indented by two spaces. Invalid UTF-8 is replaced.
void write_json(const std::filesystem::path& path, const Json& value);

/// One line or indented text; invalid UTF-8 in strings becomes U+FFFD instead of an exception.
std::string dump_json(const Json& value, int indent = -1);

}  // namespace xinslm
