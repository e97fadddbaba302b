#pragma once
#include <filesystem>
#include <string>
#include <string_view>

namespace xinslm {

/// Ends of the names under which checkpoints hold such a matrix in MXFP4.
inline constexpr std::string_view blocks_suffix = "_blocks", scales_suffix = "_scales";

/// Ends of the names under which a dense matrix is held in 8-bit blocks.
inline constexpr std::string_view q8_suffix = "_q8", q8_scales_suffix = "_q8_scales";

/// Adds to the folder's config.json what transformers wants to know of experts in MXFP4.
void mark_packed(const std::filesystem::path& folder);

}  // namespace xinslm
