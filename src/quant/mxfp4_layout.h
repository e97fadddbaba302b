#pragma once
#include "xinslm/quant/packed_tensor.h"

namespace xinslm {

/// @throws Error(data), naming the tensor and the block, when a scale is 255 (NaN)
void reject_nan_scales(const Mxfp4Tensor& tensor);

/// What repack() to rows16 does with values and with scales. The source is in the layout of checkpoints, on the
/// processor; `to` has the sizes of the other layout.
void values_to_rows16(const Mxfp4Tensor& source, at::Tensor& to);
void scales_to_rows16(const Mxfp4Tensor& source, at::Tensor& to);

}  // namespace xinslm
