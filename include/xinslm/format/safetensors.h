#pragma once
#include <ATen/core/Tensor.h>

#include <filesystem>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace xinslm {

using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;
/// A tensor that is made when its turn to be written comes, so that a file may be larger than memory.
struct TensorSource {
  std::string name;
  at::ScalarType type;
  std::vector<int64_t> sizes;
  std::function<at::Tensor()> make;  ///< gives a tensor of that type and those sizes, on any device, of any strides

  int64_t bytes() const;
};
using TensorSources = std::vector<TensorSource>;
/// Sources of tensors that exist. @throws Error(usage) for one without values
TensorSources sources_of(const NamedTensors& tensors);

using Metadata = std::vector<std::pair<std::string, std::string>>;

/// Every tensor of one safetensors file in the order of their bytes, memory-mapped: nothing is copied (but a tensor
/// that the file places off its type's alignment), and the map lives as long as one of them does. They must not be
/// written to.
///
/// The format: 8 bytes little-endian length n, n bytes JSON {name: {dtype, shape, data_offsets [begin, end)}}, then the
/// bytes of all tensors without gaps (huggingface/safetensors README, "Format").
/// @throws Error(data) naming file and tensor on any inconsistency: a damaged file never crashes the program
NamedTensors read_safetensors(const std::filesystem::path& file);

/// Writes the tensors (any device, any strides) atomically; their data starts on 8 bytes and each tensor on its type's
/// alignment, wider types first, as the safetensors library orders them.
/// @throws Error(usage) for a name given twice or a type the format does not have; Error(data) when writing fails
void write_safetensors(const std::filesystem::path& file, const NamedTensors& tensors, const Metadata& metadata = {});
void write_safetensors(const std::filesystem::path& file, const TensorSources& tensors, const Metadata& metadata = {});

}  // namespace xinslm
