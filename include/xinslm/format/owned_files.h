#pragma once
#include <filesystem>
#include <string>
#include <vector>

namespace xinslm {

/// Key of config.json by which this program knows a folder that it wrote.
inline constexpr const char* written_by_key = "written_by";
inline constexpr const char* written_by = "xinslm";

/// What a folder, or a link or file in its place, holds that this program did not write: nothing for an empty folder
/// and for one of a model that it wrote, to which nobody has added anything.
/// @param source  files equal to those of this folder count as its copies; "" = none
/// @return        paths that begin with the folder's
std::vector<std::filesystem::path> foreign_files(const std::filesystem::path& folder,
                                                 const std::filesystem::path& source = {});

/// The same for a checkpoint, whole or not: what matters is the names of its files.
std::vector<std::filesystem::path> foreign_in_checkpoint(const std::filesystem::path& folder);

/// Is it a file that file managers put everywhere?
bool is_of_no_value(const std::string& name);

/// "a, b, c and 12 more".
std::string some_of(const std::vector<std::filesystem::path>& paths);

/// Checks, before any work is done, that a model may be written to the folder.
/// @param force   one that this program wrote may be replaced
/// @param source  model that it is made from; never replaced
/// @throws Error(usage) naming what would be deleted, Error(data) when the folder cannot be written
void check_model_target(const std::filesystem::path& target, bool force, const std::filesystem::path& source = {});

}  // namespace xinslm
