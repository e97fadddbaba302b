// Head with loss, log-probabilities, and the optimiser's step.
#include <ATen/ATen.h>

#include "eval/doctor/operator_cases.h"
#include "xinslm/core/error.h"
#include "xinslm/ops/adamw.h"
#include "xinslm/ops/linear_cross_entropy.h"

namespace xinslm::doctor {
namespace {

/// hidden, weight, targets
Tensors head_inputs(int64_t tokens, int64_t hidden, int64_t vocabulary, bool ignored) {
  at::Tensor targets = at::arange(tokens, at::kLong).mul(7).remainder(vocabulary);
  if (ignored) targets.slice(0, 1, tokens, 5).fill_(ignored_target);
  return {normal({tokens, hidden}, 1), normal({vocabulary, hidden}, 2), targets};
}

std::string text(const Tensors& inputs) {
  return cat(inputs[0].sizes(), ", vocabulary ", inputs[1].size(0));
}

void add_loss(std::vector<OperatorCase>& cases, const Tensors& inputs, double smoothing, double softcap) {
  const auto with = [=](auto op) {
    return [=](const Tensors& t) { return Tensors{op(t[0], t[1], t[2], smoothing, softcap)}; };
  };
  cases.push_back({.subject = "linear_cross_entropy",
                   .sizes = text(inputs),
                   .op = with(linear_cross_entropy),
                   .reference = with(linear_cross_entropy_ref),
                   .inputs = inputs});
}

void add_log_probabilities(std::vector<OperatorCase>& cases, const Tensors& inputs, double softcap) {
  const auto reference = [=](const Tensors& t) {
    at::Tensor logits = t[0].mm(t[1].t());
    if (softcap > 0) logits = (logits / softcap).tanh() * softcap;
    return Tensors{logits.log_softmax(-1).gather(1, t[2].unsqueeze(1)).squeeze(1)};
  };
  cases.push_back({.subject = "token_log_probabilities",
                   .sizes = text(inputs),
                   .op = [=](const Tensors& t) { return Tensors{token_log_probabilities(t[0], t[1], t[2], softcap)}; },
                   .reference = reference,
                   .inputs = inputs,
                   .differentiable = false});
}

/// In place, so it works on copies; the last result is the copy of the weights in the gradient's type.
template <class Step>
Tensors stepped(const Tensors& t, const Step& step) {
  const Tensors moved{t[0].clone(), t[2].clone(), t[3].clone()};
  const bool wide = t[1].scalar_type() == t[0].scalar_type();
  const at::Tensor copy = wide ? at::Tensor() : at::empty_like(t[1]);
  step(moved[0], t[1], moved[1], moved[2], copy,
       AdamWStep{.learning_rate = 1e-2,
                 .beta1 = 0.9,
                 .beta2 = 0.95,
                 .eps = 1e-8,
                 .weight_decay = 0.1,
                 .step = 3,
                 .gradient_scale = 0.5});
  return {moved[0], moved[1], moved[2], wide ? moved[0] : copy};
}

void add_adamw(std::vector<OperatorCase>& cases, at::IntArrayRef sizes) {
  cases.push_back({.subject = "adamw_step",
                   .sizes = cat(sizes),
                   .op = [](const Tensors& t) { return stepped(t, adamw_step); },
                   .reference = [](const Tensors& t) { return stepped(t, adamw_step_ref); },
                   .inputs = {normal(sizes, 1), normal(sizes, 2), normal(sizes, 3), normal(sizes, 4).square()},
                   .wide = {0, 2, 3},
                   .differentiable = false});
}

}  // namespace

void add_training_cases(std::vector<OperatorCase>& cases) {
  add_loss(cases, head_inputs(37, 24, 101, false), 0.1, 15.0);
  add_loss(cases, head_inputs(1100, 16, 64, true), 0, 0);
  add_log_probabilities(cases, head_inputs(600, 16, 70, false), 10.0);
  add_adamw(cases, {37, 41});
}

}  // namespace xinslm::doctor
