#pragma once
#include <ATen/core/Tensor.h>

#include <optional>

#include "xinslm/core/error.h"

namespace xinslm {

/// Throws Error(usage) with the parts joined when the condition does not hold.
template <class... Parts>
void require(bool condition, const Parts&... parts) {
  if (!condition) [[unlikely]]
    usage_error(parts...);
}

/// An autograd function takes absent tensors as empty optionals, not as undefined tensors.
inline std::optional<at::Tensor> optional_of(const at::Tensor& x) {
  return x.defined() ? std::optional<at::Tensor>(x) : std::nullopt;
}
inline at::Tensor tensor_of(const std::optional<at::Tensor>& x) {
  return x.value_or(at::Tensor());
}

inline bool needs_gradient(const at::Tensor& x) {
  return x.defined() && x.requires_grad();
}

}  // namespace xinslm
