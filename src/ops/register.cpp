// The operators under the names LibTorch's dispatcher, and with it Python and TorchScript, finds them by:
// torch.ops.xinslm.rms_norm and so on, once the library is loaded. They are made of functions that know their
// gradients, so one definition serves every device and autograd.
#include <torch/library.h>

#include <optional>

#include "ops/checks.h"
#include "xinslm/ops/attention.h"
#include "xinslm/ops/dropout.h"
#include "xinslm/ops/embedding.h"
#include "xinslm/ops/linear.h"
#include "xinslm/ops/linear_cross_entropy.h"
#include "xinslm/ops/moe.h"
#include "xinslm/ops/rms_norm.h"
#include "xinslm/ops/rotary.h"

namespace xinslm {
namespace {

using MaybeTensor = std::optional<at::Tensor>;

at::Tensor attention_op(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                        const MaybeTensor& sinks, int64_t window, const MaybeTensor& document_ids) {
  return attention(query, key, value, tensor_of(sinks), window, tensor_of(document_ids));
}

at::Tensor linear_op(const at::Tensor& x, const at::Tensor& weight, const MaybeTensor& bias) {
  return linear(x, weight, tensor_of(bias));
}

at::Tensor moe_experts_op(const at::Tensor& x, const at::Tensor& chosen, const at::Tensor& weights,
                          const at::Tensor& gate_up, const MaybeTensor& gate_up_bias, const at::Tensor& down,
                          const MaybeTensor& down_bias, double swiglu_limit) {
  return moe_experts(x, {chosen, weights}, {gate_up, tensor_of(gate_up_bias), down, tensor_of(down_bias)},
                     swiglu_limit);
}

at::Tensor dropout_op(const at::Tensor& x, double p, int64_t seed) {
  return dropout(x, p, static_cast<uint64_t>(seed));
}

}  // namespace
}  // namespace xinslm

TORCH_LIBRARY(xinslm, library) {
  library.def("rms_norm(Tensor x, Tensor gain, float eps) -> Tensor", &xinslm::rms_norm);
  library.def("rotary(Tensor x, Tensor cos, Tensor sin) -> Tensor", &xinslm::rotary);
  library.def("linear(Tensor x, Tensor weight, Tensor? bias) -> Tensor", &xinslm::linear_op);
  library.def("embedding(Tensor weight, Tensor tokens) -> Tensor", &xinslm::embedding);
  library.def("dropout(Tensor x, float p, int seed) -> Tensor", &xinslm::dropout_op);
  library.def("swiglu(Tensor gate_up, float swiglu_limit) -> Tensor", &xinslm::swiglu);
  library.def(
      "attention(Tensor query, Tensor key, Tensor value, Tensor? sinks, int window, Tensor? document_ids) -> Tensor",
      &xinslm::attention_op);
  library.def(
      "moe_experts(Tensor x, Tensor chosen, Tensor weights, Tensor gate_up, Tensor? gate_up_bias, Tensor down, "
      "Tensor? down_bias, float swiglu_limit) -> Tensor",
      &xinslm::moe_experts_op);
  library.def(
      "linear_cross_entropy(Tensor hidden, Tensor weight, Tensor targets, float label_smoothing, float softcap) -> "
      "Tensor",
      &xinslm::linear_cross_entropy);
}
