#include "xinslm/ops/linear_cross_entropy.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <vector>

#include "ops/checks.h"
#include "ops/cpu/dispatch.h"
#include "ops/cpu/parallel.h"
#include "ops/cpu/product.h"
#include "ops/cpu/row_kernels.h"
#include "ops/cpu/training_kernels.h"
#include "ops/loss_parts.h"
#include "ops/mps/cross_entropy.h"
#include "ops/mps/launch.h"
#include "ops/ref/count.h"

namespace xinslm {
namespace {

using namespace cpu;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr int64_t chunk_tokens = 512;  // logits that stay in the third cache at V = 8192, products still at full speed

/// Losses of the rows, [n] float32; logits [n, V] become their gradients where asked.
at::Tensor fast_losses(const at::Tensor& logits, const at::Tensor& targets, const LossSettings& settings,
                       bool gradient) {
  const int64_t rows = logits.size(0), vocabulary = logits.size(1);
  const at::Tensor losses = at::empty({rows}, logits.options().dtype(at::kFloat));
  const int64_t* target = targets.const_data_ptr<int64_t>();
  const CrossEntropyKernels& kernels = cross_entropy_kernels();
  const Element element = element_of(logits);
  for_parts(rows, count_parts(rows, rows_per_thread(vocabulary)), [&](int64_t, int64_t begin, int64_t end) {
    std::vector<float> scratch(gradient ? vocabulary : 0);
    for (int64_t i = begin; i < end; ++i) {
      const CrossEntropyRow row{target[i], vocabulary, static_cast<float>(settings.label_smoothing),
                                static_cast<float>(settings.softcap)};
      void* data = row_at(logits, i, vocabulary);
      losses.mutable_data_ptr<float>()[i] =
          gradient ? kernels.loss_and_gradient[element](data, row, scratch.data()) : kernels.loss[element](data, row);
    }
  });
  return losses;
}

/// The same in LibTorch's operators, for other devices and types.
at::Tensor plain_losses(const at::Tensor& logits, const at::Tensor& targets, const LossSettings& settings,
                        bool gradient) {
  const at::Tensor wide = logits.scalar_type() == at::kDouble ? logits : logits.to(at::kFloat);
  const double cap = settings.softcap, smoothing = settings.label_smoothing;
  const at::Tensor tanh = cap > 0 ? (wide / cap).tanh() : at::Tensor();
  const at::Tensor log_probability = (cap > 0 ? tanh * cap : wide).log_softmax(-1);
  const at::Tensor column = targets.unsqueeze(1);
  const at::Tensor losses =
      log_probability.gather(1, column).squeeze(1) * (smoothing - 1) - log_probability.mean(-1) * smoothing;
  if (gradient) {
    at::Tensor grad = log_probability.exp().sub_(smoothing / static_cast<double>(logits.size(1)));
    grad.scatter_add_(1, column, at::full(column.sizes(), smoothing - 1, grad.options()));
    if (cap > 0) grad.mul_(1 - tanh * tanh);
    logits.copy_(grad);
  }
  return losses;
}

at::Tensor losses_of(const at::Tensor& logits, const at::Tensor& targets, const LossSettings& settings, bool gradient) {
  return is_fast(logits) ? fast_losses(logits, targets, settings, gradient)
                         : plain_losses(logits, targets, settings, gradient);
}

/// sum [V, H] += gradient [n, V]^T * hidden [n, H], sums kept in float32 (or float64).
void add_weight_gradient(at::Tensor& sum, const at::Tensor& gradient, const at::Tensor& hidden, at::Tensor& scratch) {
  if (sum.scalar_type() == hidden.scalar_type()) {
    sum.addmm_(gradient.t(), hidden);
    return;
  }
  if (!scratch.defined()) scratch = at::empty(sum.sizes(), hidden.options());
  product_out(scratch, gradient.t(), hidden);
  if (!is_fast(scratch)) {
    sum.add_(scratch);
    return;
  }
  const auto accumulate = row_kernels().accumulate[element_of(scratch)];
  for_parts(sum.numel(), count_parts(sum.numel(), rows_per_thread(1)), [&](int64_t, int64_t begin, int64_t end) {
    accumulate(sum.mutable_data_ptr<float>() + begin, row_at(scratch, begin, 1), end - begin);
  });
}

/// @param targets  none of them ignored
LossAndGradients chunked(const at::Tensor& hidden, const at::Tensor& weight, const at::Tensor& targets,
                         const LossSettings& settings, bool gradient) {
  const int64_t tokens = hidden.size(0), chunk = std::min(tokens, chunk_tokens);
  const at::ScalarType wide = hidden.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  const at::Tensor all_logits = at::empty({chunk, weight.size(0)}, hidden.options());
  at::Tensor losses = at::empty({tokens}, hidden.options().dtype(wide)), scratch;
  LossAndGradients result;
  if (gradient) {
    result.hidden = at::empty(hidden.sizes(), hidden.options());
    if (settings.weight_wanted) result.weight = at::zeros(weight.sizes(), weight.options().dtype(wide));
  }
  for (int64_t first = 0; first < tokens; first += chunk) {
    const int64_t count = std::min(chunk, tokens - first);
    const at::Tensor logits = all_logits.narrow(0, 0, count);
    const at::Tensor rows = hidden.narrow(0, first, count);
    product_out(logits, rows, weight.t());
    losses.narrow(0, first, count).copy_(losses_of(logits, targets.narrow(0, first, count), settings, gradient));
    if (!gradient) continue;
    const at::Tensor grad_rows = result.hidden.narrow(0, first, count);
    product_out(grad_rows, logits, weight);
    if (settings.weight_wanted) add_weight_gradient(result.weight, logits, rows, scratch);
  }
  result.loss = losses.sum();
  return result;
}

/// Of the tokens that count; the others' rows of the gradient are zero.
LossAndGradients loss_and_gradients(const at::Tensor& hidden, const at::Tensor& weight, const at::Tensor& targets,
                                    const LossSettings& settings, bool gradient) {
  if (mps::is_fast(hidden)) return mps::linear_cross_entropy(hidden, weight, targets, settings, gradient);
  count_reference("linear_cross_entropy", hidden);
  const at::Tensor kept = (targets != ignored_target).nonzero().squeeze(1);
  if (kept.size(0) == targets.size(0)) {
    return chunked(hidden.contiguous(), weight.contiguous(), targets.contiguous(), settings, gradient);
  }
  auto result =
      chunked(hidden.index_select(0, kept), weight.contiguous(), targets.index_select(0, kept), settings, gradient);
  if (gradient) result.hidden = at::zeros(hidden.sizes(), hidden.options()).index_copy_(0, kept, result.hidden);
  return result;
}

at::Tensor scaled(const at::Tensor& x, const at::Tensor& factor, at::ScalarType type) {
  if (!x.is_cpu() || x.scalar_type() != at::kFloat || !(type == at::kFloat || type == at::kBFloat16)) {
    return (x * factor).to(type);
  }
  const at::Tensor y = at::empty(x.sizes(), x.options().dtype(type));
  const float number = factor.item<float>();
  const auto scale = row_kernels().scale[element_of(y)];
  for_parts(x.numel(), count_parts(x.numel(), rows_per_thread(1)), [&](int64_t, int64_t begin, int64_t end) {
    scale(x.const_data_ptr<float>() + begin, number, row_at(y, begin, 1), end - begin);
  });
  return y;
}

struct LinearCrossEntropyFunction : torch::autograd::Function<LinearCrossEntropyFunction> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& hidden, const at::Tensor& weight,
                            const at::Tensor& targets, double label_smoothing, double softcap) {
    const LossSettings settings{label_smoothing, softcap, weight.requires_grad()};
    const auto result = loss_and_gradients(hidden, weight, targets, settings, true);
    context->save_for_backward({result.hidden, result.weight});
    context->saved_data["type"] = weight.scalar_type();
    return result.loss;
  }

  static variable_list backward(AutogradContext* context, variable_list grads) {
    const auto saved = context->get_saved_variables();
    const at::ScalarType type = context->saved_data["type"].toScalarType();
    const at::Tensor weight = saved[1].defined() ? scaled(saved[1], grads[0], type) : at::Tensor();
    return {(saved[0] * grads[0]).to(type), weight, {}, {}, {}};
  }
};

void check(const at::Tensor& hidden, const at::Tensor& weight, const at::Tensor& targets) {
  require(hidden.dim() == 2 && weight.dim() == 2 && hidden.size(1) == weight.size(1),
          "linear_cross_entropy: hidden is ", hidden.sizes(), ", weight ", weight.sizes(),
          ", expected [N, H] and [V, H]");
  require(hidden.scalar_type() == weight.scalar_type(), "linear_cross_entropy: hidden is ", hidden.scalar_type(),
          ", weight ", weight.scalar_type(), "; they must have one type");
  require(targets.scalar_type() == at::kLong && targets.sizes() == at::IntArrayRef{hidden.size(0)},
          "linear_cross_entropy: targets are ", targets.scalar_type(), " ", targets.sizes(), ", expected int64 [",
          hidden.size(0), "]");
  if (!targets.is_cpu()) return;  // reading them back would stall the device; its own operators check
  const at::Tensor dense = targets.contiguous();
  const int64_t* target = dense.const_data_ptr<int64_t>();
  for (int64_t i = 0; i < dense.numel(); ++i) {
    require(target[i] == ignored_target || (target[i] >= 0 && target[i] < weight.size(0)),
            "linear_cross_entropy: target ", target[i], " of token ", i, " is outside the vocabulary of ",
            weight.size(0));
  }
}

}  // namespace

at::Tensor linear_cross_entropy(const at::Tensor& hidden, const at::Tensor& weight, const at::Tensor& targets,
                                double label_smoothing, double softcap) {
  check(hidden, weight, targets);
  require(label_smoothing >= 0 && label_smoothing < 1, "linear_cross_entropy: label smoothing ", label_smoothing,
          " is outside [0, 1)");
  if (at::GradMode::is_enabled() && (needs_gradient(hidden) || needs_gradient(weight))) {
    return LinearCrossEntropyFunction::apply(hidden, weight, targets, label_smoothing, softcap);
  }
  return loss_and_gradients(hidden, weight, targets, {label_smoothing, softcap}, false).loss;
}

at::Tensor token_log_probabilities(const at::Tensor& hidden, const at::Tensor& weight, const at::Tensor& targets,
                                   double softcap, at::Tensor* greedy) {
  const at::NoGradGuard no_grad;
  check(hidden, weight, targets);
  const int64_t tokens = hidden.size(0);
  const at::Tensor wanted = targets.clamp_min(0), matrix = weight.t();  // ignored targets get a number all the same
  if (mps::is_fast(hidden)) return mps::token_log_probabilities(hidden, weight, wanted, softcap, greedy);
  count_reference("token_log_probabilities", hidden);
  at::Tensor out = at::empty({tokens}, hidden.options().dtype(at::kFloat));
  if (greedy) *greedy = at::empty({tokens}, hidden.options().dtype(at::kBool));
  for (int64_t first = 0; first < tokens; first += chunk_tokens) {
    const int64_t count = std::min(chunk_tokens, tokens - first);
    const at::Tensor logits = product(hidden.narrow(0, first, count), matrix), target = wanted.narrow(0, first, count);
    out.narrow(0, first, count).copy_(losses_of(logits, target.contiguous(), {0, softcap}, false).neg_());
    if (greedy) greedy->narrow(0, first, count).copy_(logits.argmax(-1) == target);
  }
  return out;
}

}  // namespace xinslm
