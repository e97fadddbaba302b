#pragma once
#include <filesystem>
#include <string>
#include <string_view>

namespace xinslm {

/// Whether a parameter is a matrix of experts: what MXFP4 takes the place of.
bool is_expert_matrix(std::string_view name);

/// Whether a parameter is one of attention's four matrices.
bool is_attention_matrix(std::string_view name);

/// Ends of the names under which checkpoints hold such a matrix in MXFP4.
inline constexpr std::string_view blocks_suffix = "_blocks", scales_suffix = "_scales";

/// Ends of the names under which a dense matrix is held in 8-bit blocks.
inline constexpr std::string_view q8_suffix = "_q8", q8_scales_suffix = "_q8_scales";

/// Adds to the folder's config.json what transformers wants to know of experts in MXFP4.
void mark_packed(const std::filesystem::path& folder);

}  // namespace xinslm
