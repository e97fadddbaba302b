#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "xinslm/model/transformer.h"
#include "xinslm/quant/mxfp4.h"
#include "xinslm/quant/quant_error.h"

namespace xinslm {

/// What becomes of matrices that are not experts'.
enum class DenseForm {
  stored,     ///< as they are
  bfloat16,   ///< attention, embedding, head and dense layers; the router stays in float32
  attention,  ///< attention in 8-bit blocks, the rest as it is
  q8,         ///< attention, embedding, head and dense layers in 8-bit blocks (q8.h)
};

struct QuantizeOptions {
  ScaleRule rule = ScaleRule::mse;
  int64_t group_size = 32;  ///< neighbours that share a scale: 32, 64 or 128
  DenseForm dense = DenseForm::stored;
  bool replace = false;  ///< a model at the target
};

/// What quantising makes of a parameter: experts MXFP4, others what they may be where `dense` asks for it.
PackedAs quantized_form(const Parameter& parameter, DenseForm dense);

/// What became of one tensor.
struct QuantizedTensorReport {
  std::string name;
  int64_t bytes_before = 0, bytes_after = 0;
  QuantError error;
};

/// Writes the model in `source` anew with its experts' matrices in MXFP4, and others in 8-bit blocks or bfloat16 where
/// asked, tensor by tensor, so that neither model need fit into memory. Everything else, and every other file of the
/// folder, is copied. `target` appears whole or not at all. Folders with 8-bit blocks are for xinslm alone.
///
/// @param done  told of each quantised tensor in turn, with the share of all of them that is done; false stops the work
/// @return      false when it was stopped; `target` is then as it was
/// @throws Error(data) naming file and tensor, for NaN and infinite values among others; Error(usage) when the model
/// has
///   no experts, is quantised already, or widths are no multiples of 32
bool quantize_model(const std::filesystem::path& source, const std::filesystem::path& target,
                    const QuantizeOptions& options,
                    const std::function<bool(const QuantizedTensorReport&, double share)>& done);

/// The model with every packed matrix decoded: the same weights in exact arithmetic.
Transformer dequantized(const Transformer& model, at::ScalarType type);

}  // namespace xinslm
