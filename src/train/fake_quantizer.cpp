#include "xinslm/train/fake_quantizer.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "xinslm/model/quantize.h"
#include "xinslm/quant/mxfp4.h"
#include "xinslm/quant/q8.h"

namespace xinslm {
namespace {

/// Rounded as quantize_model() does: experts [E, in, rows] with blocks along `in`, attention [rows, in].
at::Tensor rounded_matrix(const Parameter& parameter, const at::Tensor& matrix, int64_t group_size) {
  if (parameter.packed_as() == PackedAs::q8) {
    const Q8Blocks blocks = quantize_q8(matrix.detach(), parameter.name);
    return dequantize_q8(blocks.values, blocks.scales, at::kFloat);
  }
  const Mxfp4Blocks blocks =
      quantize_mxfp4(matrix.detach().transpose(1, 2).contiguous(), ScaleRule::mse, group_size, parameter.name);
  return dequantize_mxfp4(blocks.blocks, blocks.scales, at::kFloat).transpose(1, 2);
}

}  // namespace

FakeQuantizer::FakeQuantizer(const Transformer& masters, const Transformer& model, const QuantizationSettings& settings)
    : settings_(settings) {
  for (size_t i = 0; i < masters.parameters().size(); ++i) {
    const Parameter& parameter = masters.table()[i];
    if (!rounds(parameter, settings)) continue;
    pairs_.push_back({parameter, masters.parameters()[i].second.detach(), model.parameters()[i].second.detach()});
  }
}

bool FakeQuantizer::rounds(const Parameter& parameter, const QuantizationSettings& settings) {
  const DenseForm dense = settings.quantize_attention ? DenseForm::attention : DenseForm::stored;
  return quantized_form(parameter, dense) != PackedAs::none;
}

void FakeQuantizer::refresh() const {
  at::NoGradGuard no_grad;
  for (const Pair& pair : pairs_) pair.compute.copy_(rounded_matrix(pair.parameter, pair.master, settings_.group_size));
}

Transformer FakeQuantizer::rounded(const Transformer& model, const QuantizationSettings& settings) {
  Transformer copy = model.converted(model.device(), model.type());
  for (size_t i = 0; i < model.table().size(); ++i) {
    const Parameter& parameter = model.table()[i];
    if (!rounds(parameter, settings)) continue;
    const at::Tensor exact = model.parameters()[i].second.to(at::kFloat);
    copy.set_parameter(parameter.name, rounded_matrix(parameter, exact, settings.group_size));
  }
  return copy;
}

}  // namespace xinslm
