#include "xinslm/ops/packed.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include "ops/checks.h"
#include "ops/cpu/dispatch.h"
#include "ops/cpu/packed.h"
#include "ops/cpu/product.h"
#include "ops/mps/launch.h"
#include "ops/mps/moe.h"
#include "ops/mps/packed.h"
#include "ops/ref/count.h"

namespace xinslm {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// Has `weight` as the products read it.
template <class Packed>
c10::intrusive_ptr<Packed> in_rows16(const c10::intrusive_ptr<Packed>& weight) {
  return weight->layout() == PackedLayout::rows16 ? weight : weight->repack(PackedLayout::rows16);
}

template <class Packed>
struct LinearFunction : torch::autograd::Function<LinearFunction<Packed>> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const std::optional<at::Tensor>& bias,
                            const c10::intrusive_ptr<Packed>& weight) {
    context->saved_data["weight"] = weight;
    if (mps::is_fast(x)) return mps::packed_linear_forward(x, *weight, tensor_of(bias));
    return cpu::packed_linear_forward(x, *weight, tensor_of(bias));
  }

  static variable_list backward(AutogradContext* context, variable_list grads) {
    const auto weight = context->saved_data["weight"].template toCustomClass<Packed>();
    const at::Tensor grad = grads[0];
    if (mps::is_fast(grad)) return {mps::packed_linear_backward(grad, *weight), {}, {}};
    return {cpu::product(grad, weight->dequantize(grad.scalar_type())), {}, {}};
  }
};

template <class Packed>
at::Tensor linear_of(const at::Tensor& x, const c10::intrusive_ptr<Packed>& weight, const at::Tensor& bias) {
  const auto& sizes = weight->sizes();
  require(sizes.size() == 2 && x.dim() > 0 && x.size(-1) == sizes[1], "packed_linear: x is ", x.sizes(), ", weight ",
          at::IntArrayRef(sizes), "; expected [..., in] and [rows, in]");
  require(!bias.defined() || bias.sizes() == at::IntArrayRef{sizes[0]}, "packed_linear: weight is ",
          at::IntArrayRef(sizes), ", bias ", bias.defined() ? bias.sizes() : at::IntArrayRef{},
          "; expected one for each row");
  auto out_sizes = x.sizes().vec();
  out_sizes.back() = sizes[0];
  const at::Tensor rows = x.reshape({-1, x.size(-1)});
  const bool on_gpu = mps::is_fast(x);
  if (!(on_gpu || cpu::is_fast(x)) || x.numel() == 0) {
    count_reference("packed_linear", x);
    const at::Tensor y = at::mm(rows, weight->dequantize(x.scalar_type()).t());
    return (bias.defined() ? y + bias.to(y.scalar_type()) : y).view(out_sizes);
  }
  return LinearFunction<Packed>::apply(rows, optional_of(bias), on_gpu ? weight : in_rows16(weight)).view(out_sizes);
}

/// [E, rows, in] packed -> [E, in, rows], the form of the float operator.
at::Tensor decoded(const Mxfp4Tensor& weight, at::ScalarType type) {
  return weight.dequantize(type).transpose(1, 2).contiguous();
}

ExpertWeights decoded(const PackedExpertWeights& experts, at::ScalarType type) {
  return {decoded(experts.gate_up->source(), type), experts.gate_up_bias, decoded(experts.down->source(), type),
          experts.down_bias};
}

/// The matrices on their way through autograd's saved data.
struct Held : torch::CustomClassHolder {
  explicit Held(const PackedExpertWeights& experts) : experts(experts) {}
  PackedExpertWeights experts;
};

struct MoeFunction : torch::autograd::Function<MoeFunction> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& weights,
                            const at::Tensor& chosen, const PackedExpertWeights& experts, double swiglu_limit) {
    context->save_for_backward({x, weights, chosen, experts.gate_up_bias, experts.down_bias});
    context->saved_data["experts"] = c10::IValue::make_capsule(c10::make_intrusive<Held>(experts));
    context->saved_data["limit"] = swiglu_limit;
    return cpu::packed_moe_forward(x.contiguous(), chosen.contiguous(), weights.to(at::kFloat).contiguous(), experts,
                                   swiglu_limit);
  }

  /// Through the weights decoded for this step alone.
  static variable_list backward(AutogradContext* context, variable_list grads) {
    const auto saved = context->get_saved_variables();
    const auto held = c10::static_intrusive_pointer_cast<Held>(context->saved_data["experts"].toCapsule());
    const PackedExpertWeights experts{held->experts.gate_up, saved[3], held->experts.down, saved[4]};
    const at::Tensor x = saved[0].contiguous(), weights = saved[1].to(at::kFloat).contiguous();
    const cpu::MoeInput input{x,
                              saved[2].contiguous(),
                              weights,
                              decoded(experts, x.scalar_type()),
                              context->saved_data["limit"].toDouble(),
                              /*gate_up_wanted=*/false,
                              /*down_wanted=*/false};
    const cpu::SortedChoices sorted(input.chosen, input.weights, input.experts.down.size(0));
    const at::Tensor gate_up = cpu::moe_forward(input, sorted).gate_up;
    const auto result = cpu::moe_backward(input, sorted, gate_up, grads[0].contiguous());
    return {result.x, result.weights.to(saved[1].scalar_type()), {}, {}, {}};
  }
};

void check(const at::Tensor& x, const Routing& routing, const PackedExpertWeights& experts) {
  const auto &up = experts.gate_up->sizes(), &down = experts.down->sizes();
  require(up.size() == 3 && down.size() == 3 && x.dim() == 2 && up[0] == down[0] && up[1] == 2 * down[2] &&
              up[2] == down[1] && x.size(1) == down[1],
          "moe_experts: x is ", x.sizes(), ", packed gate_up ", at::IntArrayRef(up), ", down ", at::IntArrayRef(down),
          ", expected [N, H], [E, 2I, H] and [E, H, I]");
  require(routing.chosen.dim() == 2 && routing.chosen.size(0) == x.size(0) &&
              routing.chosen.sizes() == routing.weights.sizes() && routing.chosen.scalar_type() == at::kLong,
          "moe_experts: chosen experts are ", routing.chosen.sizes(), ", their weights ", routing.weights.sizes(),
          ", expected int64 and float [N, k] with N = ", x.size(0));
}

}  // namespace

at::Tensor packed_linear(const at::Tensor& x, const c10::intrusive_ptr<Mxfp4Tensor>& weight, const at::Tensor& bias) {
  return linear_of(x, weight, bias);
}

at::Tensor packed_linear(const at::Tensor& x, const c10::intrusive_ptr<Q8Tensor>& weight, const at::Tensor& bias) {
  return linear_of(x, weight, bias);
}

at::Tensor packed_embedding(const c10::intrusive_ptr<Q8Tensor>& weight, const at::Tensor& tokens, at::ScalarType type) {
  if (!mps::is_fast(weight->scales()) || tokens.numel() == 0) return weight->select_rows(tokens, type);
  require(weight->sizes().size() == 2, "packed_embedding: weight is ", at::IntArrayRef(weight->sizes()),
          ", expected [rows, in]");
  return mps::packed_embedding(*weight, tokens, type);
}

at::Tensor moe_experts(const at::Tensor& x, const Routing& routing, const PackedExpertWeights& experts,
                       double swiglu_limit) {
  check(x, routing, experts);
  if (mps::is_fast(x) && x.numel() > 0) return mps::moe_experts(x, routing, experts, swiglu_limit);
  if (!cpu::is_fast(x) || x.numel() == 0) return moe_experts_ref(x, routing, experts, swiglu_limit);
  return MoeFunction::apply(x, routing.weights, routing.chosen, experts, swiglu_limit);
}

at::Tensor moe_experts_ref(const at::Tensor& x, const Routing& routing, const PackedExpertWeights& experts,
                           double swiglu_limit) {
  check(x, routing, experts);
  return moe_experts_ref(x, routing, decoded(experts, x.scalar_type()), swiglu_limit);
}

}  // namespace xinslm
