#pragma once
#include <ATen/core/Tensor.h>

/// A device of LibTorch's that is not the processor but lives in its memory, without a kernel of its own beyond memory
/// and views: what code written for a GPU does on it can be tested on any machine.
at::Device host_device();
