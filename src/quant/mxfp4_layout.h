#pragma once
#include "xinslm/quant/packed_tensor.h"

namespace xinslm {

/// @throws Error(data), naming the tensor and the block, when a scale is 255 (NaN)
void reject_nan_scales(const Mxfp4Tensor& tensor);

}  // namespace xinslm
