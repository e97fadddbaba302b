#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "ops/cpu/packed.h"
#include "xinslm/core/thread_team.h"
#include "xinslm/model/kv_cache.h"
#include "xinslm/model/transformer.h"

namespace xinslm {

/// Widths are shared out in pieces of this many values, whole vectors and whole groups of packed rows.
inline constexpr int64_t decode_piece = 16;

/// One token's activations as projections take them.
struct DecodeInput {
  explicit DecodeInput(int64_t width);

  std::vector<float> values;       // followed by zeros up to a whole block of compact matrices
  cpu::QuantizedBuffer quantized;  // the same in 8 bits, once quantize() was called; for packed weights only
  void quantize() { quantized.write(0, 0, quantized.blocks(), values.data()); }
};

/// out[begin..end) = those rows * x + bias. begin is a multiple of decode_piece; so must end be, or the number of rows;
/// out has room for whole pieces.
void decode_project(const Projection& matrix, const DecodeInput& x, int64_t begin, int64_t end, float* out);

/// Where the weights of those rows lie.
Upcoming decode_memory(const Projection& matrix, int64_t begin, int64_t end);

/// Rows of a matrix that are handed out at a time: some hundreds of kilobytes, or half of a member's share.
int64_t decode_rows_together(const TeamMember& member, const Projection& matrix);

/// normed = x / rms(x) * gain. gain [width] float32
void decode_norm(const float* x, const at::Tensor& gain, double eps, int64_t width, float* normed);

/// Numbers on the way of one token: those all threads share, and those of each.
struct DecodeScratch {
  struct Own {
    explicit Own(const ModelConfig& config);

    std::vector<float> hidden;         // [H] before the layer; every member has all of it
    DecodeInput normed;                // [H]
    DecodeInput mixed;                 // [Q * D]
    DecodeInput act;                   // of a dense layer
    std::vector<float> query;          // [Q / K, D] of one key-value head
    std::vector<float> scores;         // [Q / K, attend_tokens]
    std::vector<float> gate_up, added;  // [k, 2I] and [H]: this member's share of what float experts give
    std::vector<float> router_logits;  // [E]
    std::vector<int64_t> chosen;       // [k]
    std::vector<float> weights;        // [k]
  };

  DecodeScratch(const ModelConfig& config, int threads);
  Own& own(int thread) { return owns[static_cast<size_t>(thread)]; }
  const Own& own(int thread) const { return owns[static_cast<size_t>(thread)]; }

  std::vector<at::BFloat16> embedded;        // [H] of the token
  std::vector<float> hidden, middle;         // [H] before the first layer or after one, and after a layer's attention
  std::vector<float> query, key, value;      // [Q * D], [K * D], [K * D]
  std::vector<float> largest, total;         // [stretches, Q]
  std::vector<float> mixed;                  // [stretches, Q, D]
  std::vector<float> gate_up, act;           // [k, 2I], [k, I], or those of a dense layer
  cpu::QuantizedBuffer quantized_act{{0}, 0};  // [k, I] in 8 bits, with packed experts
  std::vector<float> added;                  // [k, groups of 16 rows of H] by packed experts
  std::vector<Own> owns;
  const float *cos = nullptr, *sin = nullptr;  // [D / 2] of the token's position
  int64_t experts = 0;                         // k
};

/// One layer, in phases between which the threads wait for each other.
class DecoderLayer {
 public:
  DecoderLayer(const Transformer& model, int64_t layer);

  /// @param next  the layer after it, or null
  void run(TeamMember& member, DecodeScratch& scratch, const DecoderLayer* next) const;

  /// Lays packed experts out when that pays (quant/expert_matrices.h), on all threads. @return whether it was done now
  bool lay_out_if_due() const;

  KvCache::Place place;  ///< where the token's key and value go

 private:
  void project(TeamMember& member, DecodeScratch& scratch) const;
  bool goes_by_heads(const TeamMember& member) const;
  TeamMember::Range projected_rows(const TeamMember& member, const Projection& matrix) const;
  void bring_cache_closer(const TeamMember& member) const;
  void attend(TeamMember& member, DecodeScratch& scratch) const;
  void attend_stretch(DecodeScratch& scratch, DecodeScratch::Own& own, int64_t head, int64_t stretch,
                      int64_t stretches) const;
  void store_key_value(DecodeScratch& scratch, int64_t head) const;
  void mix_heads(TeamMember& member, DecodeScratch& scratch) const;
  void dense_mlp(TeamMember& member, DecodeScratch& scratch) const;
  void expert_mlp(TeamMember& member, DecodeScratch& scratch) const;
  void float_gate_up(TeamMember& member, DecodeScratch& scratch) const;
  void float_down(TeamMember& member, DecodeScratch& scratch) const;
  void packed_gate_up(TeamMember& member, DecodeScratch& scratch) const;
  void packed_down(TeamMember& member, DecodeScratch& scratch) const;
  void take_over(const TeamMember& member, DecodeScratch& scratch) const;
  void choose_experts(DecodeScratch& scratch, DecodeScratch::Own& own) const;
  int64_t stretches(const TeamMember& member) const;
  Upcoming first_weights(const TeamMember& member) const;
  Upcoming mlp_weights(const TeamMember& member) const;
  Upcoming down_weights(const TeamMember& member, const DecodeScratch& scratch) const;
  int64_t down_groups() const;

  const ModelConfig& config_;
  const LayerWeights& weights_;
  bool is_moe_;
  PackedExpertWeights packed_;  // experts in MXFP4, or empty
};

}  // namespace xinslm
