#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

#include "xinslm/model/parameter.h"

namespace xinslm {

/// First values of a parameter, float32 on the CPU, from (seed, number) alone: normal(0, initializer_range) for
/// matrices, divided by sqrt(2 L) where the result is added to the residual stream (Radford et al. 2019); one for
/// gains, zero for biases and sinks.
/// @param number  the parameter's place in the table
at::Tensor initial_value(const ModelConfig& config, const Parameter& parameter, uint64_t seed, uint64_t number);

}  // namespace xinslm
