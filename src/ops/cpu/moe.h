#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "xinslm/ops/moe.h"

namespace xinslm::cpu {

/// The N * k choices sorted by expert, in the order of the tokens within each (counting sort).
struct SortedChoices {
  int64_t k = 0;
  std::vector<int64_t> begin;   ///< [E + 1] first place of each expert
  std::vector<int64_t> tokens;  ///< [N * k] token of each place
  std::vector<int64_t> places;  ///< [N * k] place of choice j of token i at i * k + j
  std::vector<float> weights;   ///< [N * k] routing weight of each place

  /// @param chosen   [N, k] int64 on the CPU
  /// @param weights  [N, k] float32
  /// @throws Error(usage) on an expert outside [0, experts)
  SortedChoices(const at::Tensor& chosen, const at::Tensor& weights, int64_t experts);
};

/// out[token] = sum of its choices' rows, weighted and shifted by the down bias where given, in the order of choice.
/// @param y  [N * k, H] rows of the sorted choices; @param weights [N, k] or undefined; @param bias [E, H] or undefined
at::Tensor combine(const at::Tensor& y, const SortedChoices& sorted, const at::Tensor& weights,
                   const at::Tensor& chosen, const at::Tensor& bias);

/// All arguments dense; matrices of the type of x, biases float32 or undefined, routing weights float32.
struct MoeInput {
  at::Tensor x, chosen, weights;
  ExpertWeights experts;
  double swiglu_limit = 0;
  bool gate_up_wanted = true, down_wanted = true;  ///< gradients of the matrices
};

struct MoeOutput {
  at::Tensor out;      ///< [N, H]
  at::Tensor gate_up;  ///< [N * k, 2I] of the sorted choices, without bias: all the backward pass needs kept
};
MoeOutput moe_forward(const MoeInput& input, const SortedChoices& sorted);

struct MoeGradients {
  at::Tensor x, weights;  ///< [N, H], [N, k] float32
  ExpertWeights experts;  ///< biases float32; zero for experts without tokens; undefined where not wanted
};
MoeGradients moe_backward(const MoeInput& input, const SortedChoices& sorted, const at::Tensor& gate_up,
                          const at::Tensor& grad_out);

/// act = swiglu(gate_up), gate_up dense.
at::Tensor swiglu_forward(const at::Tensor& gate_up, double swiglu_limit);
at::Tensor swiglu_backward(const at::Tensor& gate_up, const at::Tensor& grad_act, double swiglu_limit);

}  // namespace xinslm::cpu
