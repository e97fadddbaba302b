#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "eval/doctor/operator_cases.h"
#include "eval/doctor/place.h"
#include "xinslm/core/device.h"
#include "xinslm/core/error.h"
#include "xinslm/eval/doctor.h"

namespace xinslm {
namespace doctor {
namespace {

bool is_float(const at::Tensor& x) {
  return x.defined() && x.is_floating_point();
}

/// The inputs as they are computed with in a type; `exact` keeps those roundings in float64.
Tensors rounded(const OperatorCase& one, at::ScalarType type, bool exact) {
  Tensors inputs = one.inputs;
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (!is_float(inputs[i])) continue;
    const bool wide = std::find(one.wide.begin(), one.wide.end(), i) != one.wide.end();
    if (!wide) inputs[i] = inputs[i].to(type);
    if (exact) inputs[i] = inputs[i].to(at::kDouble);
  }
  return inputs;
}

/// All outputs, then the gradients of the floating inputs for a fixed gradient of the first output.
Tensors outputs_and_gradients(const Operator& op, const Tensors& inputs, at::Device device, bool differentiable) {
  Tensors leaves, wanted;
  for (const at::Tensor& x : inputs) {
    leaves.push_back(x.defined() ? x.detach().to(device) : x);
    if (differentiable && is_float(x)) wanted.push_back(leaves.back().requires_grad_(true));
  }
  Tensors results = op(leaves);
  if (wanted.empty()) return results;
  const at::Tensor gradient = normal(results[0].sizes(), 99).to(results[0].scalar_type()).to(device);
  const auto gradients = torch::autograd::grad({results[0]}, wanted, {gradient});
  results.insert(results.end(), gradients.begin(), gradients.end());
  for (at::Tensor& result : results) result = result.detach();
  return results;
}

/// Takes a further case of the same subject, place and type into a check: the one closest to or beyond what is allowed
/// counts.
void add_case(Check& check, const OperatorCase& one, const Tensors& found, const Tensors& expected, double allowed,
              size_t outputs) {
  for (size_t i = 0; i < found.size(); ++i) {
    if (found[i].sizes() != expected[i].sizes()) {
      check.problem = cat(one.sizes, ": result ", i, " is ", found[i].sizes(), ", expected ", expected[i].sizes());
      return;
    }
    const double difference = largest_difference(found[i], expected[i]);
    const bool worse = check.worst.empty() || !(difference / allowed <= check.difference / check.allowed);
    if (!worse || std::isnan(check.difference)) continue;
    check.difference = difference;
    check.allowed = allowed;
    check.worst = one.sizes + (i < outputs ? (outputs > 1 ? cat(", output ", i + 1) : std::string(", output"))
                                           : cat(", gradient ", i - outputs + 1));
  }
}

class OperatorChecks {
 public:
  explicit OperatorChecks(at::Device device) : device_(device), places_(places_of(device)) {}

  void run(const OperatorCase& one) {
    for (const at::ScalarType type : compute_types(device_)) {
      const Tensors inputs = rounded(one, type, false);
      const Tensors expected =
          outputs_and_gradients(one.reference, rounded(one, type, true), at::kCPU, one.differentiable);
      const size_t outputs = one.reference(rounded(one, type, true)).size();
      const double allowed = type == at::kFloat ? one.float32 : one.half;
      for (const Place& place : places_) {
        Check& check = check_of(one.subject, place.name, compute_type_name(type));
        if (!check.problem.empty()) continue;
        const StayAt stay(place);
        try {
          const Tensors found = outputs_and_gradients(one.op, inputs, place.device, one.differentiable);
          add_case(check, one, found, expected, allowed, outputs);
        } catch (const std::exception& problem) {
          check.problem = cat(one.sizes, ": ", problem_text(problem));
        }
      }
    }
  }

  std::vector<Check> results() && { return std::move(checks_); }

 private:
  Check& check_of(const std::string& subject, const std::string& place, const std::string& type) {
    const auto same = [&](const Check& c) { return c.subject == subject && c.place == place && c.type == type; };
    const auto found = std::find_if(checks_.begin(), checks_.end(), same);
    if (found != checks_.end()) return *found;
    checks_.push_back({.subject = subject, .place = place, .type = type});
    return checks_.back();
  }

  at::Device device_;
  std::vector<Place> places_;
  std::vector<Check> checks_;
};

}  // namespace

std::vector<Check> check_cases(const std::vector<OperatorCase>& cases, at::Device device,
                               const ShowProgress& progress) {
  OperatorChecks checks(device);
  for (size_t i = 0; i < cases.size(); ++i) {
    checks.run(cases[i]);
    if (progress) progress(static_cast<double>(i + 1) / static_cast<double>(cases.size()));
  }
  return std::move(checks).results();
}

}  // namespace doctor

std::vector<Check> check_operators(at::Device device, const ShowProgress& progress) {
  return doctor::check_cases(doctor::operator_cases(), device, progress);
}

}  // namespace xinslm
