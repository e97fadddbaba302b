#include "xinslm/model/decoder.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "model/decoder_layer.h"
#include "xinslm/core/error.h"
#include "xinslm/core/thread_team.h"
#include "xinslm/ops/rotary.h"

namespace xinslm {
namespace {

/// Positions whose cosines and sines are computed at a time.
constexpr int64_t rotary_positions = 256;

bool is_float_or_bfloat16(const at::Tensor& x) {
  return x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16;
}

}  // namespace

struct Decoder::State {
  explicit State(const Transformer& model)
      : model(model), threads(at::get_num_threads()), scratch(model.config(), threads) {
    for (int64_t layer = 0; layer < model.config().num_hidden_layers; ++layer) layers.emplace_back(model, layer);
    const int64_t words = model.config().vocab_size;
    padded_logits = at::empty({(words + decode_piece - 1) / decode_piece * decode_piece});
    logits = padded_logits.narrow(0, 0, words);
  }

  void settle();
  void find_rotation(int64_t position);
  void embed(int64_t token);
  void finish(TeamMember& member);

  const Transformer& model;
  std::vector<DecoderLayer> layers;
  int threads;
  DecodeScratch scratch;
  at::Tensor cos, sin;  // [rotary_positions, D / 2] from first_position on
  int64_t first_position = -1;
  at::Tensor padded_logits, logits;
  int64_t steps = 0;
  bool matrices_left = true;  // in a file's map
};

/// Brings weights from a file's map to where they are read fast, once there are so many tokens that it pays. All become
/// due with the same token; a few at a time, so that no token waits long.
void Decoder::State::settle() {
  constexpr int64_t steps_before_copies = 6;
  if (++steps <= steps_before_copies) return;
  if (std::ranges::any_of(layers, &DecoderLayer::lay_out_if_due)) return;
  matrices_left = matrices_left && model.move_next_matrices();
}

void Decoder::State::find_rotation(int64_t position) {
  const ModelConfig& config = model.config();
  if (first_position < 0 || position < first_position || position >= first_position + rotary_positions) {
    first_position = position;
    std::tie(cos, sin) = rotary_table(config.rope, config.head_dim, position, rotary_positions, at::kCPU);
  }
  const int64_t offset = (position - first_position) * config.head_dim / 2;
  scratch.cos = cos.const_data_ptr<float>() + offset;
  scratch.sin = sin.const_data_ptr<float>() + offset;
}

void Decoder::State::embed(int64_t token) {
  const Projection& table = model.weights().embedding;
  const int64_t width = model.config().hidden_size;
  if (table.packed) return table.packed->decode_row(token, scratch.hidden.data());
  at::BFloat16* bits = scratch.embedded.data();
  if (table.is_compact()) {
    table.compact->restore_row(token, reinterpret_cast<uint16_t*>(bits));
  } else if (table.weight.scalar_type() == at::kBFloat16) {
    bits = table.weight.data_ptr<at::BFloat16>() + token * width;
  } else {
    std::copy_n(table.weight.const_data_ptr<float>() + token * width, width, scratch.hidden.data());
    return;
  }
  std::copy_n(bits, width, scratch.hidden.data());
}

/// The last norm and the head.
void Decoder::State::finish(TeamMember& member) {
  const ModelConfig& config = model.config();
  DecodeInput& normed = scratch.own(member.number()).normed;
  decode_norm(scratch.own(member.number()).hidden.data(), model.weights().norm, config.rms_norm_eps, config.hidden_size,
              normed.values.data());
  if (model.head().packed) normed.quantize();
  float* out = padded_logits.mutable_data_ptr<float>();
  const float cap = static_cast<float>(config.logit_softcap);
  member.share_out(config.vocab_size, decode_rows_together(member, model.head()), [&](const TeamMember::Range& rows) {
    decode_project(model.head(), normed, rows.begin, rows.end, out);
    if (cap <= 0) return;
    for (int64_t i = rows.begin; i < rows.end; ++i) out[i] = std::tanh(out[i] / cap) * cap;
  });
}

bool Decoder::supports(const Transformer& model) {
  const ModelConfig& config = model.config();
  if (!model.device().is_cpu()) return false;
  return std::ranges::all_of(model.parameters(),
                             [&](const auto& named) {
                               const auto& [name, tensor] = named;
                               return model.is_packed(name) || (is_float_or_bfloat16(tensor) && tensor.is_contiguous());
                             }) &&
         config.head_dim % 2 == 0;
}

Decoder::Decoder(const Transformer& model) : state_(std::make_unique<State>(model)) {}
Decoder::~Decoder() = default;

const at::Tensor& Decoder::step(int64_t token, KvCache& cache, int64_t num_experts_per_tok) {
  State& state = *state_;
  const ModelConfig& config = state.model.config();
  if (token < 0 || token >= config.vocab_size) {
    usage_error("token ", token, " is outside the model's vocabulary of ", config.vocab_size);
  }
  if (cache.length() >= config.max_position_embeddings) {
    usage_error("the text has ", cache.length() + 1, " tokens, but the model has positions for ",
                config.max_position_embeddings, " (max_position_embeddings); shorten it");
  }
  state.find_rotation(cache.length());
  state.embed(token);
  state.scratch.experts = num_experts_per_tok > 0 ? num_experts_per_tok : config.num_experts_per_tok;
  for (size_t layer = 0; layer < state.layers.size(); ++layer) {
    state.layers[layer].place = cache.extend(static_cast<int64_t>(layer));
  }
  state.settle();
  run_team(state.threads, [&](TeamMember& member) {
    state.scratch.own(member.number()).hidden = state.scratch.hidden;
    for (size_t layer = 0; layer < state.layers.size(); ++layer) {
      const DecoderLayer* next = layer + 1 < state.layers.size() ? &state.layers[layer + 1] : nullptr;
      state.layers[layer].run(member, state.scratch, next);
    }
    state.finish(member);
  });
  cache.advance(1);
  return state.logits;
}

}  // namespace xinslm
