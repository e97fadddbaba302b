#pragma once
#include <ATen/core/Tensor.h>

#include <functional>
#include <string>
#include <vector>

#include "xinslm/eval/doctor.h"

namespace xinslm::doctor {

using Tensors = std::vector<at::Tensor>;
/// The first result is differentiated where gradients are compared.
using Operator = std::function<Tensors(const Tensors&)>;

/// An operator at one size, with a reference that also computes in float64.
struct OperatorCase {
  std::string subject, sizes;
  Operator op, reference;
  Tensors inputs;  ///< on the processor, float32 or integers; undefined ones are left out
  std::vector<size_t> wide =
      {};  ///< inputs that are float32 whatever the type: gains, biases, sinks, weights of routing
  double float32 = 2e-5, half = 2e-2;  ///< differences allowed, by type
  double eight_bits = 0;  ///< allowed besides on the processor, whose packed products round activations to 8 bits
  bool differentiable = true;
};

/// Every operator of ours, with odd sizes, edges of windows, experts without tokens.
std::vector<OperatorCase> operator_cases();

/// What check_operators() does with its cases.
std::vector<Check> check_cases(const std::vector<OperatorCase>& cases, at::Device device, const ShowProgress& progress);

/// Normal numbers from a seed, float32.
at::Tensor normal(at::IntArrayRef sizes, uint64_t seed);

// The parts of operator_cases().
void add_plain_cases(std::vector<OperatorCase>& cases);
void add_attention_cases(std::vector<OperatorCase>& cases);
void add_cache_cases(std::vector<OperatorCase>& cases);
void add_expert_cases(std::vector<OperatorCase>& cases);
void add_packed_cases(std::vector<OperatorCase>& cases);
void add_training_cases(std::vector<OperatorCase>& cases);

}  // namespace xinslm::doctor
