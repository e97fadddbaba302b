#pragma once
#include <cstdint>

#include "xinslm/quant/packed_tensor.h"

namespace xinslm {

/// @throws Error(data), naming the tensor and the block, when a scale is 255 (NaN)
void reject_nan_scales(const Mxfp4Tensor& tensor);

/// The same weights' room in layout rows16, nothing in it yet.
c10::intrusive_ptr<Mxfp4Tensor> empty_rows16(const Mxfp4Tensor& tensor);

/// Fills groups [begin, end) of 16 rows of one matrix, of the dimension before rows.
/// @param from  [E, rows, in], layout checkpoint
/// @param to    the same in rows16
void lay_out_groups(const Mxfp4Tensor& from, const Mxfp4Tensor& to, int64_t matrix, int64_t begin, int64_t end);

}  // namespace xinslm
