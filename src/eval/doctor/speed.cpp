#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <limits>
#include <memory>

#include "eval/doctor/operator_cases.h"
#include "eval/doctor/place.h"
#include "xinslm/core/device.h"
#include "xinslm/core/error.h"
#include "xinslm/core/huge_pages.h"
#include "xinslm/core/memory_bandwidth.h"
#include "xinslm/eval/doctor.h"
#include "xinslm/ops/adamw.h"
#include "xinslm/ops/attention.h"
#include "xinslm/ops/linear_cross_entropy.h"
#include "xinslm/ops/packed.h"
#include "xinslm/ops/rms_norm.h"

namespace xinslm {
namespace doctor {
namespace {

using Clock = std::chrono::steady_clock;

/// Best seconds of one call, after one that warms up, in about `budget` seconds.
double best_seconds(at::Device device, const std::function<void()>& work) {
  constexpr double budget = 0.25;
  const auto timed = [&] {
    const auto start = Clock::now();
    work();
    synchronize(device);
    return std::chrono::duration<double>(Clock::now() - start).count();
  };
  timed();
  double best = std::numeric_limits<double>::infinity(), spent = 0;
  while (spent < budget) {
    const double seconds = timed();
    best = std::min(best, seconds);
    spent += seconds;
  }
  return best;
}

/// Uniform numbers without the cost of good ones.
at::Tensor numbers(at::IntArrayRef sizes, at::ScalarType type, at::Device device) {
  int64_t count = 1;
  for (const int64_t size : sizes) count *= size;
  return at::arange(count, at::kInt)
      .mul(40503)
      .bitwise_and(0xffff)
      .to(at::kFloat)
      .sub(32768)
      .div(32768)
      .view(sizes)
      .to(device)
      .to(type);
}

at::Tensor bytes_like(at::IntArrayRef sizes, at::ScalarType type) {
  at::Tensor bytes = at::empty(sizes, at::kByte);
  auto* to = bytes.mutable_data_ptr<uint8_t>();
  for (int64_t i = 0; i < bytes.numel(); ++i) to[i] = static_cast<uint8_t>(i * 167 >> 2);
  return bytes.view(type);
}

c10::intrusive_ptr<Mxfp4Tensor> mxfp4_weights(int64_t matrices, int64_t rows, int64_t in) {
  return Mxfp4Tensor::from_checkpoint(bytes_like({matrices, rows, in / 32, 16}, at::kByte),
                                      at::full({matrices, rows, in / 32}, 120, at::kByte), "weights");
}

/// 64 experts of gpt-oss' kind and half its width: 200 MB, more than caches hold.
struct Experts {
  static constexpr int64_t count = 64, chosen = 4, hidden = 1440, width = 1440;
  PackedExpertWeights weights;

  explicit Experts(at::Device device) {
    weights.gate_up = std::make_shared<ExpertMatrices>(mxfp4_weights(count, 2 * width, hidden)->to(device));
    weights.down = std::make_shared<ExpertMatrices>(mxfp4_weights(count, hidden, width)->to(device));
  }
  double bytes_of_one() const {
    return static_cast<double>(weights.gate_up->bytes() + weights.down->bytes()) / static_cast<double>(count);
  }
};

class Kernels {
 public:
  Kernels(at::Device device, const ShowProgress& progress) : device_(device), progress_(progress) {}

  std::vector<SpeedFigure> run() && {
    const std::pair<const char*, std::function<void()>> parts[] = {
        {"matrix products", [&] { peaks(); }},
        {"reading memory", [&] { bandwidth(); }},
        {"MXFP4 experts", [&] { packed_experts(); }},
        {"8-bit products", [&] { q8_head(); }},
        {"attention, one token", [&] { decode_attention(); }},
        {"attention", [&] { attention_pass(); }},
        {"head and loss", [&] { head_and_loss(); }},
        {"norms", [&] { norms(); }},
        {"optimiser step", [&] { optimizer(); }}};
    double done = 0;
    for (const auto& [what, part] : parts) {
      try {
        part();
      } catch (const std::exception& problem) {
        figures_.push_back({.what = what, .problem = problem_text(problem)});
      }
      if (progress_) progress_(++done / static_cast<double>(std::size(parts)));
    }
    return std::move(figures_);
  }

 private:
  void add(const std::string& what, double amount, bool bytes, const std::function<void()>& work) {
    const double rate = amount / best_seconds(device_, work), peak = bytes ? bandwidth_ : flops_;
    figures_.push_back({.what = what, .rate = rate, .bytes = bytes, .share = peak > 0 ? rate / peak : 0});
  }

  /// The kernels then run in the type with the fastest products.
  void peaks() {
    for (const at::ScalarType type : compute_types(device_)) {
      const double rate = measure_matmul_flops(type, device_);
      if (rate > flops_) {
        flops_ = rate;
        type_ = type;
      }
      figures_.push_back({.what = "matrix products, " + compute_type_name(type), .rate = rate, .share = 1});
    }
  }

  /// On the processor all threads read; a GPU sums, which reads each number once.
  void bandwidth() {
    constexpr int64_t size = int64_t{64} << 20;  // 256 MB of float32
    if (device_.is_cpu()) {
      at::Tensor memory = empty_in_huge_pages({size}, at::kFloat);
      memory.zero_();
      memory.narrow(0, 0, 1).fill_(1);
      bandwidth_ = measure_read_bandwidth({memory});
    } else {
      const at::Tensor memory = at::ones({size}, at::TensorOptions().dtype(at::kFloat).device(device_));
      bandwidth_ = static_cast<double>(memory.nbytes()) / best_seconds(device_, [&] { memory.sum(); });
    }
    figures_.push_back({.what = "reading memory", .rate = bandwidth_, .bytes = true, .share = 1});
  }

  void packed_experts() {
    const at::NoGradGuard no_gradients;
    const Experts experts(device_);
    const auto chosen_by = [&](int64_t tokens) {
      const at::Tensor first = at::arange(tokens * Experts::chosen, at::kLong).view({tokens, Experts::chosen});
      return Routing{first.remainder(Experts::count).to(device_),
                     at::full({tokens, Experts::chosen}, 0.25, at::TensorOptions().dtype(at::kFloat).device(device_))};
    };
    const auto pass = [&](const Routing& routing, const at::Tensor& x) {
      moe_experts(x, routing, experts.weights, 7.0);
    };
    // Sixteen tokens one after the other visit all experts, so that none of them stays in a cache.
    constexpr int64_t visits = Experts::count / Experts::chosen;
    const at::Tensor one = numbers({1, Experts::hidden}, type_, device_);
    std::vector<Routing> routes;
    const Routing all = chosen_by(visits);
    for (int64_t i = 0; i < visits; ++i) routes.push_back({all.chosen.narrow(0, i, 1), all.weights.narrow(0, i, 1)});
    add("MXFP4 experts, one token", experts.bytes_of_one() * Experts::count, true, [&] {
      for (const Routing& route : routes) pass(route, one);
    });
    constexpr int64_t tokens = 256;
    const at::Tensor many = numbers({tokens, Experts::hidden}, type_, device_);
    const Routing routing = chosen_by(tokens);
    const double flops = 6.0 * tokens * Experts::chosen * Experts::hidden * Experts::width;
    add(cat("MXFP4 experts, ", tokens, " tokens"), flops, false, [&] { pass(routing, many); });
  }

  void q8_head() {
    const at::NoGradGuard no_gradients;
    constexpr int64_t rows = 32768, in = 2048;
    const auto stored = Q8Tensor::from_checkpoint(bytes_like({rows, in}, at::kChar),
                                                  at::full({rows, in / 32}, 0.01, at::kHalf), "head");
    const auto weight = device_.is_cpu() ? stored->repack(PackedLayout::rows16) : stored->to(device_);
    const at::Tensor x = numbers({1, in}, type_, device_);
    add("8-bit product, one token", static_cast<double>(weight->bytes()), true, [&] { packed_linear(x, weight, {}); });
  }

  void decode_attention() {
    const at::NoGradGuard no_gradients;
    constexpr int64_t heads = 64, kv_heads = 8, keys = 16384, width = 64;
    const at::Tensor query = numbers({1, heads, 1, width}, type_, device_);
    const at::Tensor key = numbers({1, kv_heads, keys, width}, type_, device_), value = key.clone();
    add(cat("attention, one token after ", keys), static_cast<double>(key.nbytes() + value.nbytes()), true,
        [&] { attention(query, key, value, {}, 0, {}); });
  }

  void attention_pass() {
    constexpr int64_t heads = 8, kv_heads = 2, tokens = 1024, width = 64;
    const at::Tensor query = numbers({1, heads, tokens, width}, type_, device_).requires_grad_(true);
    const at::Tensor key = numbers({1, kv_heads, tokens, width}, type_, device_).requires_grad_(true);
    const at::Tensor value = key.detach().clone().requires_grad_(true);
    const double scores = static_cast<double>(heads * tokens) * (tokens + 1) / 2;
    add(cat("attention, ", tokens, " tokens"), 4 * scores * width, false, [&] {
      const at::NoGradGuard no_gradients;
      attention(query, key, value, {}, 0, {});
    });
    const at::Tensor grad = numbers({1, heads, tokens, width}, type_, device_);
    add("attention, forward and backward", 12 * scores * width, false,
        [&] { attention(query, key, value, {}, 0, {}).backward(grad); });
  }

  void head_and_loss() {
    constexpr int64_t tokens = 512, hidden = 512, words = 8192;
    const at::Tensor states = numbers({tokens, hidden}, type_, device_).requires_grad_(true);
    const at::Tensor weight = numbers({words, hidden}, type_, device_).requires_grad_(true);
    const at::Tensor targets = at::arange(tokens, at::kLong).mul(13).remainder(words).to(device_);
    add("head and loss, forward and backward", 6.0 * tokens * hidden * words, false,
        [&] { linear_cross_entropy(states, weight, targets, 0, 0).backward(); });
  }

  void norms() {
    const at::NoGradGuard no_gradients;
    const at::Tensor x = numbers({16384, 1024}, type_, device_), gain = numbers({1024}, at::kFloat, device_);
    add("rms_norm", 2 * static_cast<double>(x.nbytes()), true, [&] { rms_norm(x, gain, 1e-5); });
  }

  /// Reads weight, gradient and moments, writes weight and moments: seven float32 a parameter.
  void optimizer() {
    const auto options = at::TensorOptions().dtype(at::kFloat).device(device_);
    constexpr int64_t size = 8 << 20;
    const at::Tensor weight = at::ones({size}, options), gradient = at::ones({size}, options);
    const at::Tensor first = at::zeros({size}, options), second = at::zeros({size}, options);
    const AdamWStep step{.learning_rate = 1e-3,
                         .beta1 = 0.9,
                         .beta2 = 0.95,
                         .eps = 1e-8,
                         .weight_decay = 0.1,
                         .step = 1,
                         .gradient_scale = 1};
    add("AdamW step", 7 * static_cast<double>(weight.nbytes()), true,
        [&] { adamw_step(weight, gradient, first, second, {}, step); });
  }

  at::Device device_;
  const ShowProgress& progress_;
  at::ScalarType type_ = at::kFloat;
  double flops_ = 0, bandwidth_ = 0;
  std::vector<SpeedFigure> figures_;
};

}  // namespace
}  // namespace doctor

std::vector<SpeedFigure> measure_kernels(at::Device device, const ShowProgress& progress) {
  return doctor::Kernels(device, progress).run();
}

}  // namespace xinslm
