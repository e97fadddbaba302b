#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "xinslm/eval/scorer.h"

// What `xinslm doctor` looks into: whether a device computes what it should, and how fast.
namespace xinslm {

/// One thing computed in one place and held against the reference.
struct Check {
  std::string subject = {};  ///< "attention", "training step, gradients"
  std::string place = {};    ///< "mps", or on the processor the instruction set: "scalar", "avx2"
  std::string type = {};     ///< of the activations: "float32", "float16", "bfloat16"
  std::string worst = {};    ///< where the difference was largest: sizes, and which output or gradient
  double difference = 0;     ///< there: largest difference over the largest value
  double allowed = 0;        ///< what rounding explains
  std::string problem = {};  ///< an error's message, when it could not be computed

  /// NaN differs from everything.
  bool passed() const { return problem.empty() && difference <= allowed; }
};

/// Every operator, outputs and gradients, at several sizes that no tile divides, against its reference in float64 on
/// the processor: on a GPU once, on the processor with each instruction set it has.
std::vector<Check> check_operators(at::Device device, const ShowProgress& progress = {});

/// A small model: loss and gradients of a training step, the losses of ten steps, the tokens it then generates
/// greedily, and its logits with packed weights; against the processor's plainest kernels (Isa::scalar) in float32.
std::vector<Check> check_model(at::Device device, const ShowProgress& progress = {});

/// A speed and what it is compared with.
struct SpeedFigure {
  std::string what;
  double rate = 0;           ///< operations or bytes a second
  bool bytes = false;        ///< bytes, bound by memory; else floating-point operations, bound by arithmetic
  double share = 0;          ///< of the peak of that kind; the peaks themselves have 1
  std::string problem = {};  ///< an error's message, when it could not be computed
};

/// Peaks of matrix products and memory, then what our kernels reach of them, on sizes of gpt-oss' kind.
std::vector<SpeedFigure> measure_kernels(at::Device device, const ShowProgress& progress = {});

}  // namespace xinslm
