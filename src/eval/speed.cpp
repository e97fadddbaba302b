#include "xinslm/eval/speed.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <chrono>
#include <deque>
#include <optional>
#include <vector>

#include "xinslm/core/error.h"
#include "xinslm/core/huge_pages.h"
#include "xinslm/core/memory_bandwidth.h"
#include "xinslm/core/random.h"
#include "xinslm/generate/sampler.h"
#include "xinslm/model/decoder.h"
#include "xinslm/model/kv_cache.h"

namespace xinslm {
namespace {

void check(const Transformer& model, const SpeedOptions& options) {
  const int64_t positions = model.config().max_position_embeddings;
  const auto within = [&](const char* name, int64_t value) {
    if (value < 0 || value > positions) {
      usage_error(name, " is ", value, " tokens; it must be between 0 and the model's ", positions, " positions");
    }
  };
  within("prompt length", options.prompt_tokens);
  within("generation length", options.generate_tokens);
  if (options.depths.empty()) usage_error("no depth to time at");
  for (const int64_t depth : options.depths) {
    within("depth", depth);
    within("depth and length together", depth + std::max(options.prompt_tokens, options.generate_tokens));
  }
  if (options.prompt_tokens + options.generate_tokens == 0) usage_error("nothing to time: both lengths are 0");
  if (options.repetitions < 1) usage_error("repetitions is ", options.repetitions, "; it must be at least 1");
}

/// The state that use leads to, before anything is timed: weights copied out of the file's map.
void settle(const Transformer& model) {
  if (!model.device().is_cpu()) return;
  while (model.move_next_matrices()) {
  }
  for (const LayerWeights& layer : model.weights().layers) {
    for (const auto& experts : {layer.gate_up_packed, layer.down_packed}) {
      if (experts) experts->lay_out();
    }
  }
}

/// What lies in memory of the matrices that tokens read.
std::vector<at::Tensor> large_weights(const Transformer& model) {
  std::vector<at::Tensor> weights;
  const auto add = [&](const at::Tensor& weight) {
    if (weight.defined() && weight.nbytes() >= huge_page_bytes) weights.push_back(weight);
  };
  const auto add_projection = [&](const Projection& matrix) {
    add(matrix.packed ? matrix.packed->values() : matrix.is_compact() ? matrix.compact->values() : matrix.weight);
  };
  const auto add_experts = [&](const std::shared_ptr<ExpertMatrices>& experts) {
    if (experts && experts->laid_out()) add(experts->rows16().values());
  };
  add_projection(model.head());
  for (const LayerWeights& layer : model.weights().layers) {
    for (const Projection* matrix : {&layer.query, &layer.output, &layer.gate_up, &layer.down}) add_projection(*matrix);
    add_experts(layer.gate_up_packed);
    add_experts(layer.down_packed);
  }
  return weights;
}

class SpeedTest {
 public:
  SpeedTest(const Transformer& model, const SpeedOptions& options, int64_t depth, at::ScalarType kv_type)
      : model_(model), cache_(model.config(), 1, model.device(), kv_type), depth_(depth) {
    forward_.kv_cache = &cache_;
    forward_.num_experts_per_tok = options.num_experts_per_tok;
    forward_.last_tokens = 1;
    if (Decoder::supports(model)) decoder_.emplace(model);
  }

  /// Tokens a second of a prompt of that length.
  double prompt(int64_t length) {
    fill_cache();
    const at::Tensor tokens = random_tokens(length);
    return rate(length, [&] { next_token(tokens); });
  }

  double generate(int64_t length) {
    fill_cache();
    at::Tensor token = random_tokens(1);
    return rate(length, [&] {
      for (int64_t i = 0; i < length; ++i) token.fill_(next_token(token));
    });
  }

 private:
  void fill_cache() {
    if (depth_ > 0 && cache_.truncate(depth_) && cache_.length() == depth_) return;
    cache_.clear();
    if (depth_ == 0) return;
    ForwardOptions prefix = forward_;
    prefix.last_tokens = 0;
    model_.hidden_states(random_tokens(depth_), prefix);
  }

  at::Tensor random_tokens(int64_t length) {
    at::Tensor tokens = at::empty({1, length}, at::kLong);
    auto* ids = tokens.mutable_data_ptr<int64_t>();
    for (int64_t i = 0; i < length; ++i)
      ids[i] = static_cast<int64_t>(random_.below(static_cast<uint64_t>(model_.config().vocab_size)));
    return tokens.to(model_.device());
  }

  /// Reading the answer waits for the device.
  int64_t next_token(const at::Tensor& tokens) {
    if (tokens.numel() == 1 && decoder_) {
      const int64_t token = tokens.item<int64_t>();
      const at::Tensor& logits = decoder_->step(token, cache_, forward_.num_experts_per_tok);
      return greedy_token({logits.const_data_ptr<float>(), static_cast<size_t>(logits.numel())});
    }
    return model_.logits(model_.hidden_states(tokens, forward_)).argmax(-1).item<int64_t>();
  }

  template <class Work>
  static double rate(int64_t tokens, const Work& work) {
    const auto start = std::chrono::steady_clock::now();
    work();
    return static_cast<double>(tokens) /
           std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }

  const Transformer& model_;
  KvCache cache_;
  int64_t depth_;
  ForwardOptions forward_;
  std::optional<Decoder> decoder_;
  RandomStream random_{random_for::speed_text};
};

}  // namespace

std::vector<SpeedResult> measure_speed(const Transformer& model, const SpeedOptions& options,
                                       const ShowProgress& progress) {
  const at::NoGradGuard no_gradients;
  check(model, options);
  settle(model);
  const size_t depths = options.depths.size();
  const at::ScalarType kv_type = options.kv_type.value_or(default_kv_type(model));
  std::deque<SpeedTest> tests;  // which stay where they are: each points to its own cache
  for (const int64_t depth : options.depths) tests.emplace_back(model, options, depth, kv_type);
  const int64_t parts = (options.prompt_tokens > 0) + (options.generate_tokens > 0);
  const auto runs = static_cast<double>(parts * options.repetitions) * static_cast<double>(depths);
  int64_t done = 0;
  const auto measure = [&](double (SpeedTest::*run)(int64_t), int64_t length) {
    std::vector<std::vector<double>> speeds(depths);
    if (length == 0) return speeds;
    for (SpeedTest& test : tests) (test.*run)(length);
    for (int64_t i = 0; i < options.repetitions; ++i) {
      for (size_t d = 0; d < depths; ++d) {
        speeds[d].push_back((tests[d].*run)(length));
        if (progress) progress(static_cast<double>(++done) / runs);
      }
    }
    return speeds;
  };
  const auto prompt = measure(&SpeedTest::prompt, options.prompt_tokens);
  const auto generate = measure(&SpeedTest::generate, options.generate_tokens);
  const bool reads = options.generate_tokens > 0;
  const double bandwidth = reads && model.device().is_cpu() ? measure_read_bandwidth(large_weights(model)) : 0;

  std::vector<SpeedResult> results;
  for (size_t d = 0; d < depths; ++d) {
    const int64_t depth = options.depths[d], middle = depth + options.generate_tokens / 2;
    const int64_t bytes = reads ? bytes_read_per_token(model, options.num_experts_per_tok, middle, kv_type) : 0;
    results.push_back(
        {depth, kv_type, estimate(prompt[d]), estimate(generate[d]), static_cast<double>(bytes), bandwidth});
  }
  return results;
}

double SpeedResult::bus_share() const {
  return read_bandwidth > 0 ? generate.value * bytes_per_token / read_bandwidth : 0;
}

}  // namespace xinslm
