#include "xinslm/train/state_tensors.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "xinslm/core/error.h"

namespace xinslm {

StateTensors::StateTensors(const NamedTensors& tensors, const std::string& where)
    : tensors_(tensors.begin(), tensors.end()), where_(where) {}

const at::Tensor& StateTensors::at(const std::string& name) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) data_error(where_, ": tensor ", name, " is missing; the checkpoint is not of this run");
  return found->second;
}

void StateTensors::restore(const std::string& name, const at::Tensor& target) const {
  const at::Tensor& saved = at(name);
  if (saved.sizes() != target.sizes() || saved.scalar_type() != target.scalar_type()) {
    data_error(where_, ": tensor ", name, " is ", saved.scalar_type(), " ", saved.sizes(), ", expected ",
               target.scalar_type(), " ", target.sizes());
  }
  at::NoGradGuard no_grad;
  target.copy_(saved);
}

}  // namespace xinslm
