#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "eval/doctor/model_run.h"
#include "xinslm/core/device.h"
#include "xinslm/core/error.h"
#include "xinslm/eval/doctor.h"

namespace xinslm {
namespace doctor {
namespace {

/// Differences that rounding explains, in float32 and in 16 bits. In 16 bits some tokens choose other experts by a
/// hair, which changes single gradients and logits by any amount; what the whole differs by stays small.
struct Allowed {
  double loss, gradient, losses, margin, packed;
};
constexpr Allowed in_float32{1e-5, 1e-3, 1e-3, 1e-2, 1e-3}, in_16_bits{1e-2, 4e-1, 3e-2, 5e-1, 2e-1};
constexpr double eight_bits = 2e-1;  // more for packed models on the processor, where activations are rounded to 8 bits

double relative(double found, double expected) {
  return std::abs(found - expected) / std::max(1e-3, std::abs(expected));
}

/// ||a - b|| / ||b||
double norm_difference(const at::Tensor& a, const at::Tensor& b) {
  return (a - b).norm().item<double>() / std::max(1e-6, b.norm().item<double>());
}

/// The median over the rows of their norm_difference().
double median_difference(const at::Tensor& a, const at::Tensor& b) {
  return ((a - b).norm(2, -1) / b.norm(2, -1).clamp_min(1e-6)).median().item<double>();
}

at::Tensor joined(const NamedTensors& tensors) {
  std::vector<at::Tensor> flat;
  for (const auto& [name, tensor] : tensors) flat.push_back(tensor.reshape(-1));
  return at::cat(flat);
}

class ModelChecks {
 public:
  ModelChecks(const Place& place, at::ScalarType type) : place_(place), type_(type) {}

  std::vector<Check> against(const ModelRun& expected) && {
    try {
      compare(run_model(place_, type_, expected.trained), expected);
    } catch (const std::exception& problem) {
      Check& failed = add("small model", "", 0, 0);
      failed.problem = problem_text(problem);
    }
    return std::move(checks_);
  }

 private:
  Check& add(const std::string& subject, const std::string& worst, double difference, double allowed) {
    checks_.push_back({subject, place_.name, compute_type_name(type_), worst, difference, allowed, ""});
    return checks_.back();
  }

  void compare(const ModelRun& found, const ModelRun& expected) {
    const Allowed allowed = type_ == at::kFloat ? in_float32 : in_16_bits;
    add("training step, loss", cat(found.losses[0], " nats"), relative(found.losses[0], expected.losses[0]),
        allowed.loss);
    compare_gradients(found.gradients, expected.gradients, allowed.gradient);
    compare_losses(found, expected, allowed.losses);
    compare_tokens(found, expected, allowed.margin);
    add("packed model, logits", cat(found.packed_logits.sizes()),
        median_difference(found.packed_logits, expected.exact_logits),
        allowed.packed + (place_.device.is_cpu() ? eight_bits : 0));
  }

  /// In float32 the parameter that differs most, in 16 bits all of them together.
  void compare_gradients(const NamedTensors& found, const NamedTensors& expected, double allowed) {
    Check& check = add("training step, gradients", "all parameters", 0, allowed);
    if (found.size() != expected.size()) {
      check.problem = cat(found.size(), " parameters have gradients, expected ", expected.size());
      return;
    }
    if (type_ != at::kFloat) check.difference = norm_difference(joined(found), joined(expected));
    for (size_t i = 0; type_ == at::kFloat && i < found.size(); ++i) {
      const double difference = norm_difference(found[i].second, expected[i].second);
      if (std::isnan(check.difference) || difference <= check.difference) continue;
      check.difference = difference;
      check.worst = found[i].first;
    }
  }

  void compare_losses(const ModelRun& found, const ModelRun& expected, double allowed) {
    size_t worst = 0;
    const auto difference = [&](size_t step) { return relative(found.losses[step], expected.losses[step]); };
    for (size_t step = 1; step < found.losses.size(); ++step) {
      if (!std::isnan(difference(worst)) && !(difference(step) <= difference(worst))) worst = step;
    }
    add("ten training steps", cat("step ", worst + 1, ", ", found.losses[worst], " nats"), difference(worst), allowed);
  }

  /// Two tokens that are almost equally probable may change places, and then all that follow differ; the difference is
  /// the margin by which the reference chose the first other token.
  void compare_tokens(const ModelRun& found, const ModelRun& expected, double allowed) {
    const auto pair = std::mismatch(found.tokens.begin(), found.tokens.end(), expected.tokens.begin());
    const auto same = static_cast<size_t>(pair.first - found.tokens.begin());
    const bool all = same == found.tokens.size();
    add("greedy tokens", cat(same, " of ", found.tokens.size(), " the same"), all ? 0 : expected.margins[same],
        allowed);
  }

  Place place_;
  at::ScalarType type_;
  std::vector<Check> checks_;
};

}  // namespace
}  // namespace doctor

std::vector<Check> check_model(at::Device device, const ShowProgress& progress) {
  const auto types = compute_types(device);
  const auto places = doctor::places_of(device);
  const doctor::Place plainest = doctor::plainest_place();
  const doctor::ModelRun expected = doctor::run_model(plainest, at::kFloat);
  std::vector<Check> checks;
  double done = 0;
  for (const at::ScalarType type : types) {
    for (const doctor::Place& place : places) {
      for (Check& check : doctor::ModelChecks(place, type).against(expected)) checks.push_back(std::move(check));
      if (progress) progress(++done / static_cast<double>(types.size() * places.size()));
    }
  }
  return checks;
}

}  // namespace xinslm
