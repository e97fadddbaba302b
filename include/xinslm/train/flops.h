#pragma once
#include <cstdint>

#include "xinslm/config/model_config.h"

namespace xinslm {

/// Floating-point operations that training on one token of a sequence takes, a multiply-add counting two: six for each
/// active parameter, and the attention scores and sums forward and backward. Work done twice (gradient checkpointing,
/// attention's backward pass) counts once, as in "model FLOPs utilisation" (Chowdhery et al. 2022).
/// @param experts  chosen for each token
/// @param tokens   length T of the sequence
double training_flops_per_token(const ModelConfig& config, int64_t experts, int64_t tokens);

}  // namespace xinslm
