#pragma once
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "line_reader.h"
#include "xinslm/data/corpus.h"

namespace xinslm {

/// Parts of a text are about this long, in bytes.
constexpr size_t kPartBytes = 1 << 16;

/// Where a text may be cut after at most `limit` bytes: before a blank that follows something else, where tokens of
/// all tokenizers end; failing that between two characters. The whole size when the text is no longer than the limit.
size_t cut_point(std::string_view text, size_t limit);

/// The ending of a file's name without .gz, in small letters: ".txt" for a.TXT.gz.
std::string text_ending(const std::filesystem::path& path);

/// Whether a file is read as JSON lines: the format says so or, for "auto", its name or first character that is not
/// white space.
bool holds_json_lines(const std::filesystem::path& path, const std::string& format);

/// Whether there is nothing but white space in it.
bool is_blank(std::string_view text);

std::unique_ptr<DocumentReader> read_text_file(const std::filesystem::path& path, const std::string& separator,
                                               const std::string& line_end);
/// @param skipped  lines that cannot be read are counted there; nullptr = the first one is an error
std::unique_ptr<DocumentReader> read_json_lines(const std::filesystem::path& path, BadLines* skipped);

}  // namespace xinslm
