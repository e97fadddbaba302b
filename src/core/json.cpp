#include "xinslm/core/json.h"

#include "xinslm/core/error.h"
#include "xinslm/core/file.h"

namespace xinslm {

Json parse_json(std::string_view text, const std::string& where) {
  try {
    return Json::parse(text);
  } catch (const nlohmann::json::parse_error& problem) {
    data_error(where, ": not valid JSON: ", problem.what());
  }
}

Json read_json(const std::filesystem::path& path) {
  return parse_json(read_file(path), path.string());
}

void write_json(const std::filesystem::path& path, const Json& value) {
  write_file(path, dump_json(value, 2) + "\n");
}

std::string dump_json(const Json& value, int indent) {
  return value.dump(indent, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace xinslm
