#include "ops/mps/cross_entropy.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>

#include "ops/mps/launch.h"
#include "ops/mps/linear.h"
#include "xinslm/core/error.h"
#include "xinslm/ops/linear_cross_entropy.h"

namespace xinslm::mps {
namespace {

constexpr int64_t logit_bytes = int64_t{64} << 20;  // held at a time
/// Numbers of tokens are multiples of this: LibTorch keeps a compiled graph for every shape of a product that it meets.
constexpr int64_t token_step = 64;

int64_t chunk_tokens(const at::Tensor& weight) {
  const int64_t fitting = logit_bytes / std::max<int64_t>(1, weight.size(0) * weight.element_size());
  return std::clamp<int64_t>(fitting / token_step, 4, 64) * token_step;
}

/// Hidden states and targets with ignored tokens added up to a multiple of token_step.
struct Tokens {
  at::Tensor hidden, targets;

  Tokens(const at::Tensor& some_hidden, const at::Tensor& some_targets)
      : hidden(some_hidden.contiguous()), targets(some_targets.contiguous()) {
    const int64_t missing = (token_step - hidden.size(0) % token_step) % token_step;
    if (missing == 0) return;
    hidden = at::constant_pad_nd(hidden, {0, 0, 0, missing});
    targets = at::constant_pad_nd(targets, {0, missing}, ignored_target);
  }
};

struct RowResults {
  at::Tensor losses;  ///< [N] float32
  at::Tensor greedy;  ///< [N] bool
};

/// One launch over the rows of logits, which become their gradients where asked.
void run_rows(const at::Tensor& logits, const at::Tensor& targets, const LossSettings& settings, bool gradient,
              const RowResults& results) {
  constexpr uint64_t threads = 256;
  Launch launch("cross_entropy", cat("cross_entropy_", suffix(logits)));
  launch.tensor(logits).tensor(targets).tensor(results.losses).tensor(results.greedy);
  launch.integer(logits.size(1)).integer(ignored_target);
  launch.real(settings.label_smoothing).real(settings.softcap).integer(gradient);
  launch.run({static_cast<uint64_t>(logits.size(0)) * threads, 1, 1}, {threads, 1, 1});
}

RowResults results_for(const Tokens& tokens) {
  const int64_t count = tokens.targets.size(0);
  return {at::empty({count}, tokens.hidden.options().dtype(at::kFloat)),
          at::empty({count}, tokens.hidden.options().dtype(at::kBool))};
}

/// Calls visit(first, rows of hidden, logits) for each chunk, with losses and gradients of the logits found.
template <class Visit>
void for_chunks(const Tokens& tokens, const at::Tensor& weight, const LossSettings& settings, bool gradient,
                const RowResults& results, const Visit& visit) {
  const int64_t count = tokens.hidden.size(0), chunk = chunk_tokens(weight);
  for (int64_t first = 0; first < count; first += chunk) {
    const int64_t size = std::min(chunk, count - first);
    const auto part = [&](const at::Tensor& x) { return x.narrow(0, first, size); };
    const at::Tensor rows = part(tokens.hidden), logits = mps::linear(rows, weight, {});
    run_rows(logits, part(tokens.targets), settings, gradient, {part(results.losses), part(results.greedy)});
    visit(first, rows, logits);
  }
}

}  // namespace

LossAndGradients linear_cross_entropy(const at::Tensor& hidden, const at::Tensor& weight, const at::Tensor& targets,
                                      const LossSettings& settings, bool gradient) {
  const at::NoGradGuard no_grad;
  const Tokens tokens(hidden, targets);
  const at::Tensor matrix = weight.contiguous();
  const RowResults results = results_for(tokens);
  LossAndGradients found;
  if (gradient) {
    found.hidden = at::empty_like(tokens.hidden);
    if (settings.weight_wanted) found.weight = at::zeros(matrix.sizes(), matrix.options().dtype(at::kFloat));
  }
  for_chunks(tokens, matrix, settings, gradient, results,
             [&](int64_t first, const at::Tensor& rows, const at::Tensor& logits) {
               if (!gradient) return;
               at::Tensor grad_rows = found.hidden.narrow(0, first, rows.size(0));
               at::mm_out(grad_rows, logits, matrix);
               if (settings.weight_wanted) found.weight.add_(transposed_product(logits, rows));
             });
  found.loss = results.losses.sum();
  if (gradient) found.hidden = found.hidden.narrow(0, 0, hidden.size(0));
  return found;
}

at::Tensor token_log_probabilities(const at::Tensor& hidden, const at::Tensor& weight, const at::Tensor& targets,
                                   double softcap, at::Tensor* greedy) {
  const at::NoGradGuard no_grad;
  const Tokens tokens(hidden, targets);
  const RowResults results = results_for(tokens);
  for_chunks(tokens, weight.contiguous(), {0, softcap}, false, results,
             [](int64_t, const at::Tensor&, const at::Tensor&) {});
  if (greedy != nullptr) *greedy = results.greedy.narrow(0, 0, hidden.size(0));
  return results.losses.neg().narrow(0, 0, hidden.size(0));
}

}  // namespace xinslm::mps
