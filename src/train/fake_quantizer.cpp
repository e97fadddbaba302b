#include "xinslm/train/fake_quantizer.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "xinslm/model/packed_names.h"
#include "xinslm/quant/mxfp4.h"
#include "xinslm/quant/q8.h"

namespace xinslm {
namespace {

/// Rounded as quantize_model() does: experts [E, in, rows] with blocks along `in`, attention [rows, in].
at::Tensor rounded_matrix(const std::string& name, const at::Tensor& matrix, int64_t group_size) {
  if (!is_expert_matrix(name)) {
    const Q8Blocks blocks = quantize_q8(matrix.detach(), name);
    return dequantize_q8(blocks.values, blocks.scales, at::kFloat);
  }
  const Mxfp4Blocks blocks =
      quantize_mxfp4(matrix.detach().transpose(1, 2).contiguous(), ScaleRule::mse, group_size, name);
  return dequantize_mxfp4(blocks.blocks, blocks.scales, at::kFloat).transpose(1, 2);
}

}  // namespace

FakeQuantizer::FakeQuantizer(const Transformer& masters, const Transformer& model, const QuantizationSettings& settings)
    : settings_(settings) {
  for (size_t i = 0; i < masters.parameters().size(); ++i) {
    const auto& [name, master] = masters.parameters()[i];
    if (rounds(name, settings)) pairs_.push_back({name, master.detach(), model.parameters()[i].second.detach()});
  }
}

bool FakeQuantizer::rounds(const std::string& name, const QuantizationSettings& settings) {
  return is_expert_matrix(name) || (settings.quantize_attention && is_attention_matrix(name));
}

void FakeQuantizer::refresh() const {
  at::NoGradGuard no_grad;
  for (const Pair& pair : pairs_) pair.compute.copy_(rounded_matrix(pair.name, pair.master, settings_.group_size));
}

Transformer FakeQuantizer::rounded(const Transformer& model, const QuantizationSettings& settings) {
  Transformer copy(model.config(), model.device(), model.type());
  for (const auto& [name, tensor] : model.parameters()) {
    copy.set_parameter(
        name, rounds(name, settings) ? rounded_matrix(name, tensor.to(at::kFloat), settings.group_size) : tensor);
  }
  return copy;
}

}  // namespace xinslm
