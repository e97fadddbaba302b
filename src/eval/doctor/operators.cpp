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
struct Results {
  Tensors values;
  size_t outputs;
};

Results computed(const Operator& op, const Tensors& inputs, at::Device device, bool differentiable) {
  Tensors leaves, wanted;
  for (const at::Tensor& x : inputs) {
    leaves.push_back(x.defined() ? x.detach().to(device) : x);
    if (differentiable && is_float(x)) wanted.push_back(leaves.back().requires_grad_(true));
  }
  Tensors values = op(leaves);
  const size_t outputs = values.size();
  if (!wanted.empty()) {
    const at::Tensor gradient = normal(values[0].sizes(), 99).to(values[0].scalar_type()).to(device);
    const auto gradients = torch::autograd::grad({values[0]}, wanted, {gradient});
    values.insert(values.end(), gradients.begin(), gradients.end());
  }
  for (at::Tensor& value : values) value = value.detach();
  return {values, outputs};
}

/// Takes a further case of the same subject, place and type into a check: the one closest to or beyond what is allowed
/// counts.
void add_case(Check& check, const OperatorCase& one, const Results& found, const Results& expected, double allowed) {
  for (size_t i = 0; i < found.values.size(); ++i) {
    const at::Tensor &value = found.values[i], &reference = expected.values.at(i);
    if (value.sizes() != reference.sizes()) {
      check.problem = cat(one.sizes, ": result ", i + 1, " is ", value.sizes(), ", expected ", reference.sizes());
      return;
    }
    const double difference = largest_difference(value, reference);
    const bool worse = check.worst.empty() || !(difference / allowed <= check.difference / check.allowed);
    if (!worse || std::isnan(check.difference)) continue;
    check.difference = difference;
    check.allowed = allowed;
    const bool output = i < found.outputs;
    check.worst = cat(one.sizes, output ? ", output " : ", gradient ", output ? i + 1 : i + 1 - found.outputs);
  }
}

class OperatorChecks {
 public:
  explicit OperatorChecks(at::Device device) : device_(device), places_(places_of(device)) {}

  void run(const OperatorCase& one) {
    for (const at::ScalarType type : compute_types(device_)) {
      const Tensors inputs = rounded(one, type, false);
      const Results expected = computed(one.reference, rounded(one, type, true), at::kCPU, one.differentiable);
      const double allowed = (type == at::kFloat ? one.float32 : one.half) + (device_.is_cpu() ? one.eight_bits : 0);
      for (const Place& place : places_) {
        Check& check = check_of(one.subject, place.name, compute_type_name(type));
        if (!check.problem.empty()) continue;
        const StayAt stay(place);
        try {
          add_case(check, one, computed(one.op, inputs, place.device, one.differentiable), expected, allowed);
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
