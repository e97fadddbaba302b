#pragma once
#include <ATen/core/Tensor.h>

#include <optional>
#include <string_view>

namespace xinslm {

/// LibTorch's type for a safetensors dtype, empty for one LibTorch has no tensors of.
std::optional<at::ScalarType> type_of_safetensors_name(std::string_view name);

/// The safetensors dtype of a LibTorch type, empty where the format has none.
std::string_view safetensors_name_of(at::ScalarType type);

}  // namespace xinslm
