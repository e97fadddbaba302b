#pragma once
#include <map>
#include <string>

#include "xinslm/format/safetensors.h"

namespace xinslm {

/// The tensors of a checkpoint's trainer_state.safetensors by name.
class StateTensors {
 public:
  /// @param where  the file, for errors
  StateTensors(const NamedTensors& tensors, const std::string& where);

  /// The tensor of that name. @throws Error(data) when it is missing
  const at::Tensor& at(const std::string& name) const;

  /// Copies the tensor of that name into the target. @throws Error(data) when it is missing or of another shape
  void restore(const std::string& name, const at::Tensor& target) const;

 private:
  std::map<std::string, at::Tensor> tensors_;
  std::string where_;
};

}  // namespace xinslm
