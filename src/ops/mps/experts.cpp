#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <string>

#include "ops/checks.h"
#include "ops/mps/launch.h"
#include "ops/mps/moe.h"
#include "ops/mps/product.h"

namespace xinslm::mps {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;
using MaybeTensor = std::optional<at::Tensor>;

constexpr uint64_t simd_width = 32, group_threads = 128, row_threads = 64;

// Threadgroups of the kernels for few tokens, as their files have them.
constexpr VectorGroup packed_gate_up{64, 4}, dense_columns{256, 32};
constexpr VectorGroup packed_down(int64_t slots) {
  return {128, 4 / slots * 4};
}

struct Experts {
  Matrix gate_up, down;
  at::Tensor gate_up_bias, down_bias;  // [E, 2I], [E, H] float32 or undefined
  double swiglu_limit;
};

at::Tensor dense_float(const at::Tensor& x) {
  return x.defined() ? dense(x.to(at::kFloat)) : x;
}

Experts experts_of(const ExpertWeights& weights, double swiglu_limit) {
  return {matrix_of(weights.gate_up), matrix_of(weights.down), dense_float(weights.gate_up_bias),
          dense_float(weights.down_bias), swiglu_limit};
}

Experts experts_of(const PackedExpertWeights& weights, double swiglu_limit) {
  return {matrix_of(weights.gate_up->source()), matrix_of(weights.down->source()), dense_float(weights.gate_up_bias),
          dense_float(weights.down_bias), swiglu_limit};
}

/// out[token] = sum of its choices' rows, times their weights where these are given.
at::Tensor combine(const at::Tensor& rows, const SortedChoices& sorted, const at::Tensor& weights) {
  const int64_t tokens = sorted.count() / sorted.k, columns = rows.size(1);
  const at::Tensor out = at::empty({tokens, columns}, rows.options());
  Launch launch("moe", cat("combine_", suffix(rows)));
  launch.tensor(rows).tensor(sorted.places).tensor(or_any(weights, rows)).tensor(out);
  launch.integer(sorted.k).integer(columns).integer(weights.defined());
  launch.run({static_cast<uint64_t>(columns), static_cast<uint64_t>(tokens)}, {row_threads});
  return out;
}

/// [E, columns] float32 sums over each expert's places of their rows, or of weight * the row of their token.
at::Tensor sum_of_places(const at::Tensor& rows, RowsOf of, const SortedChoices& sorted, const at::Tensor& weights) {
  const int64_t experts = sorted.begin.size(0) - 1, columns = rows.size(1);
  const at::Tensor sums = at::empty({experts, columns}, rows.options().dtype(at::kFloat));
  Launch launch("moe", cat("sum_of_places_", suffix(rows)));
  launch.tensor(rows).tensor(sorted.choices).tensor(weights).tensor(sorted.begin).tensor(sums);
  launch.integer(of == RowsOf::tokens ? sorted.k : 0).integer(columns);
  launch.run({static_cast<uint64_t>(columns), static_cast<uint64_t>(experts)}, {row_threads});
  return sums;
}

struct Forward {
  at::Tensor out, kept;
};

Forward forward(const at::Tensor& x, const SortedChoices& sorted, const at::Tensor& weights, const Experts& experts,
                bool keep) {
  const GateUp gate_up = gate_up_product(x, sorted, experts.gate_up, experts.gate_up_bias, experts.swiglu_limit, keep);
  const at::Tensor y =
      product(gate_up.act, {&sorted, RowsOf::places}, experts.down, Direction::forward, experts.down_bias);
  return {combine(y, sorted, weights), gate_up.kept};
}

/// Whether reading an expert's matrices once for each choice costs less than tiles that are mostly empty.
bool are_few(const at::Tensor& chosen, const Experts& experts) {
  return chosen.numel() <= 2 * experts.gate_up.count;
}

/// Choice by choice, in the order of tokens: two launches.
at::Tensor forward_few(const at::Tensor& x, const at::Tensor& chosen, const at::Tensor& weights,
                       const Experts& experts) {
  const int64_t k = chosen.size(1), width = experts.down.in, hidden = experts.down.out;
  const at::Tensor act = at::empty({chosen.numel(), width}, x.options().dtype(at::kFloat));
  const at::Tensor out = at::empty({x.size(0), hidden}, x.options());
  const bool packed = experts.gate_up.scales.defined();
  const std::string library = packed ? "packed_vector" : "dense_vector";
  const std::string ending = cat(packed ? "_vector_" : "_dense_vector_", suffix(x));

  Launch gate_up(library, "gate_up" + ending);
  gate_up.tensor(x).tensor(chosen).tensor(experts.gate_up.values);
  if (packed) gate_up.tensor(experts.gate_up.scales);
  gate_up.tensor(or_any(experts.gate_up_bias, act)).tensor(act).integer(experts.gate_up_bias.defined()).integer(k);
  gate_up.integer(experts.gate_up.count).integer(hidden).integer(width).real(experts.swiglu_limit);
  run_vector(gate_up, packed ? packed_gate_up : dense_columns, width, chosen.numel());

  Launch down(library, "down" + ending);
  down.tensor(act).tensor(chosen).tensor(weights).tensor(experts.down.values);
  if (packed) down.tensor(experts.down.scales);
  down.tensor(or_any(experts.down_bias, act)).tensor(out).integer(experts.down_bias.defined()).integer(k);
  down.integer(experts.down.count).integer(hidden).integer(width);
  const int64_t slots = k >= 3 ? 4 : k;
  if (packed) down.integer(slots);
  run_vector(down, packed ? packed_down(slots) : dense_columns, hidden, x.size(0));
  return out;
}

struct SwigluGradients {
  at::Tensor weighted_act, gate_up, weights;  // [places, I], [places, 2I], [N, k]
};

SwigluGradients swiglu_gradients(const at::Tensor& kept, const at::Tensor& grad_act, const at::Tensor& grad_out,
                                 const at::Tensor& chosen, const at::Tensor& weights, const SortedChoices& sorted,
                                 const Experts& experts) {
  const SwigluGradients result{at::empty(grad_act.sizes(), kept.options()), at::empty(kept.sizes(), kept.options()),
                               at::empty(weights.sizes(), weights.options())};
  Launch launch("moe", cat("experts_swiglu_backward_", suffix(kept)));
  launch.tensor(kept).tensor(grad_act).tensor(grad_out).tensor(or_any(experts.down_bias, weights)).tensor(chosen);
  launch.tensor(weights).tensor(sorted.choices).tensor(result.weighted_act).tensor(result.gate_up);
  launch.tensor(result.weights).integer(sorted.count()).integer(sorted.k).integer(grad_act.size(1));
  launch.integer(grad_out.size(1)).integer(experts.down_bias.defined()).integer(experts.down.count);
  launch.real(experts.swiglu_limit);
  launch.run({static_cast<uint64_t>(sorted.count()) * simd_width}, {group_threads});
  return result;
}

/// Packed matrices on their way through autograd's saved data.
struct Held : torch::CustomClassHolder {
  explicit Held(const PackedExpertWeights& experts) : experts(experts) {}
  PackedExpertWeights experts;
};

/// Takes either `plain` matrices or, where they are absent, packed ones; these have no gradients.
struct ExpertsFunction : torch::autograd::Function<ExpertsFunction> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& weights,
                            const MaybeTensor& gate_up, const MaybeTensor& gate_up_bias, const MaybeTensor& down,
                            const MaybeTensor& down_bias, const at::Tensor& chosen, const PackedExpertWeights& packed,
                            double swiglu_limit) {
    const ExpertWeights plain{tensor_of(gate_up), tensor_of(gate_up_bias), tensor_of(down), tensor_of(down_bias)};
    const Experts experts =
        plain.gate_up.defined() ? experts_of(plain, swiglu_limit) : experts_of(packed, swiglu_limit);
    const at::Tensor rows = dense(x), factors = dense_float(weights), choices = dense(chosen);
    const SortedChoices sorted = sort_choices(choices, experts.down.count);
    const auto result = mps::forward(rows, sorted, factors, experts, true);
    context->save_for_backward({rows, weights, plain.gate_up, plain.gate_up_bias, plain.down, plain.down_bias, choices,
                                result.kept, sorted.begin, sorted.choices, sorted.places, sorted.tiles});
    context->saved_data["packed"] = c10::IValue::make_capsule(c10::make_intrusive<Held>(packed));
    context->saved_data["limit"] = swiglu_limit;
    context->saved_data["wants"] =
        std::vector<bool>{needs_gradient(x), needs_gradient(plain.gate_up), needs_gradient(plain.down),
                          needs_gradient(plain.gate_up_bias), needs_gradient(plain.down_bias)};
    return result.out;
  }

  static variable_list backward(AutogradContext* context, variable_list grads) {
    const auto saved = context->get_saved_variables();
    const at::Tensor &x = saved[0], &weights = saved[1], &chosen = saved[6], &kept = saved[7];
    const SortedChoices sorted{saved[8], saved[9], saved[10], saved[11], chosen.size(1)};
    const auto held = c10::static_intrusive_pointer_cast<Held>(context->saved_data["packed"].toCapsule());
    const double limit = context->saved_data["limit"].toDouble();
    const Experts experts = saved[2].defined() ? experts_of({saved[2], saved[3], saved[4], saved[5]}, limit)
                                               : experts_of(held->experts, limit);
    const auto wants = context->saved_data["wants"].toBoolList();
    const at::Tensor factors = dense_float(weights), grad_out = dense(grads[0]);
    const at::Tensor grad_act = product(grad_out, {&sorted, RowsOf::tokens}, experts.down, Direction::backward, {});
    const auto inner = swiglu_gradients(kept, grad_act, grad_out, chosen, factors, sorted, experts);
    variable_list result(9);
    if (wants[0]) {
      const Grouping places{&sorted, RowsOf::places};
      result[0] = combine(product(inner.gate_up, places, experts.gate_up, Direction::backward, {}), sorted, {});
    }
    result[1] = inner.weights.to(weights.scalar_type());
    const int64_t count = experts.down.count;
    if (wants[1]) result[2] = outer_product(x, RowsOf::tokens, inner.gate_up, RowsOf::places, sorted, count);
    if (wants[2])
      result[4] = outer_product(inner.weighted_act, RowsOf::places, grad_out, RowsOf::tokens, sorted, count);
    if (wants[3]) {
      result[3] = sum_of_places(inner.gate_up, RowsOf::places, sorted, factors).to(saved[3].scalar_type());
    }
    if (wants[4]) result[5] = sum_of_places(grad_out, RowsOf::tokens, sorted, factors).to(saved[5].scalar_type());
    return result;
  }
};

template <class Weights>
at::Tensor without_gradients(const at::Tensor& x, const Routing& routing, const Weights& weights, double swiglu_limit) {
  const Experts experts = experts_of(weights, swiglu_limit);
  const at::Tensor rows = dense(x), chosen = dense(routing.chosen), factors = dense_float(routing.weights);
  if (are_few(chosen, experts)) return forward_few(rows, chosen, factors, experts);
  return forward(rows, sort_choices(chosen, experts.down.count), factors, experts, false).out;
}

}  // namespace

at::Tensor moe_experts(const at::Tensor& x, const Routing& routing, const ExpertWeights& experts, double swiglu_limit) {
  const bool needs = needs_gradient(x) || needs_gradient(routing.weights) || needs_gradient(experts.gate_up) ||
                     needs_gradient(experts.down) || needs_gradient(experts.gate_up_bias) ||
                     needs_gradient(experts.down_bias);
  if (!at::GradMode::is_enabled() || !needs) return without_gradients(x, routing, experts, swiglu_limit);
  return ExpertsFunction::apply(x, routing.weights, optional_of(experts.gate_up), optional_of(experts.gate_up_bias),
                                optional_of(experts.down), optional_of(experts.down_bias), routing.chosen,
                                PackedExpertWeights{}, swiglu_limit);
}

at::Tensor moe_experts(const at::Tensor& x, const Routing& routing, const PackedExpertWeights& experts,
                       double swiglu_limit) {
  const bool needs = needs_gradient(x) || needs_gradient(routing.weights) || needs_gradient(experts.gate_up_bias) ||
                     needs_gradient(experts.down_bias);
  if (!at::GradMode::is_enabled() || !needs) return without_gradients(x, routing, experts, swiglu_limit);
  return ExpertsFunction::apply(x, routing.weights, std::nullopt, optional_of(experts.gate_up_bias), std::nullopt,
                                optional_of(experts.down_bias), routing.chosen, experts, swiglu_limit);
}

}  // namespace xinslm::mps
