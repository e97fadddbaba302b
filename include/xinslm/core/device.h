#pragma once
#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

namespace xinslm {

/// Where a GPU is chosen, operators that LibTorch has no kernel for there run on the processor (core/fallbacks.h).
/// @param name  "cpu", "mps" or "auto": Apple's GPU where this LibTorch and machine have one, else the processor
/// @throws Error(usage) for another word, or for mps where there is none
at::Device choose_device(const std::string& name);

/// The type matrix products are computed in.
///
/// @param name  "float32", "bfloat16", "float16" (GPU only: processors take a hundred times as long) or "auto", which
///              times both types on the device and takes bfloat16 when it is at least 1.3 times as fast, but not where
///              a GPU only emulates it (Apple before M3). The answer is this machine's at this moment: whoever must get
///              the same one later saves it.
/// @throws Error(usage) for another word, or for float16 on the processor
at::ScalarType choose_compute_type(const std::string& name, at::Device device);

/// The types that products can be computed in on the device, float32 first: without float16 on the processor, without
/// bfloat16 on GPUs that emulate it.
std::vector<at::ScalarType> compute_types(at::Device device);

/// The name that choose_compute_type() takes, for example "float16".
std::string compute_type_name(at::ScalarType type);

/// Waits until the device has computed what was asked of it.
void synchronize(at::Device device);

/// Floating-point operations a second (a multiply-add counts two) of large square matrix products with the threads set
/// now: the best of several in about 0.3 s. What share-of-peak figures refer to.
double measure_matmul_flops(at::ScalarType type, at::Device device);

}  // namespace xinslm
