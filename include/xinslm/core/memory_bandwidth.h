#pragma once
#include <ATen/core/Tensor.h>

#include <vector>

namespace xinslm {

/// Bytes a second that all threads together read these tensors with, one after the other: the best of several passes.
/// What generation is bound by. Where memory lies decides too, so weights are measured where they are.
/// @param tensors  contiguous, on the CPU
double measure_read_bandwidth(const std::vector<at::Tensor>& tensors, int passes = 4);

}  // namespace xinslm
