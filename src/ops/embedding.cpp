#include "xinslm/ops/embedding.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cstring>

#include "ops/checks.h"
#include "ops/cpu/dispatch.h"
#include "ops/cpu/parallel.h"
#include "ops/cpu/row_kernels.h"
#include "ops/mps/embedding.h"
#include "ops/mps/launch.h"

namespace xinslm {
namespace {

using namespace cpu;

void check_tokens(const at::Tensor& tokens, int64_t vocabulary) {
  const int64_t* data = tokens.const_data_ptr<int64_t>();
  for (int64_t i = 0; i < tokens.numel(); ++i) {
    require(data[i] >= 0 && data[i] < vocabulary, "embedding: token ", data[i], " is outside the vocabulary of ",
            vocabulary);
  }
}

at::Tensor rows_of(const at::Tensor& weight, const at::Tensor& tokens) {
  if (mps::is_fast(weight)) return mps::embedding(weight, tokens);
  const int64_t width = weight.size(1), count = tokens.numel(), bytes = width * weight.element_size();
  auto sizes = tokens.sizes().vec();
  sizes.push_back(width);
  const at::Tensor out = at::empty(sizes, weight.options());
  const int64_t* token = tokens.const_data_ptr<int64_t>();
  for_parts(count, count_parts(count, rows_per_thread(width)), [&](int64_t, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      std::memcpy(bytes_of(out) + i * bytes, bytes_of(weight) + token[i] * bytes, bytes);
  });
  return out;
}

/// Places of each token in their order, and where each token's places begin (counting sort).
struct Occurrences {
  std::vector<int64_t> begin, places;

  Occurrences(const at::Tensor& tokens, int64_t vocabulary) : begin(vocabulary + 1), places(tokens.numel()) {
    const int64_t* data = tokens.const_data_ptr<int64_t>();
    for (int64_t i = 0; i < tokens.numel(); ++i) ++begin[data[i] + 1];
    for (int64_t v = 0; v < vocabulary; ++v) begin[v + 1] += begin[v];
    std::vector<int64_t> next(begin.begin(), begin.end() - 1);
    for (int64_t i = 0; i < tokens.numel(); ++i) places[next[data[i]]++] = i;
  }
};

at::Tensor grad_of_rows(const at::Tensor& grad, const at::Tensor& tokens, int64_t vocabulary) {
  if (mps::is_fast(grad)) return mps::embedding_backward(grad, tokens, vocabulary);
  const int64_t width = grad.size(-1), bytes = width * grad.element_size();
  const Occurrences found(tokens, vocabulary);
  const at::Tensor out = at::empty({vocabulary, width}, grad.options());
  const auto sum_rows = row_kernels().sum_rows[element_of(grad)];
  for_parts(vocabulary, count_parts(vocabulary, rows_per_thread(width)), [&](int64_t, int64_t begin, int64_t end) {
    std::vector<float> scratch(width);
    for (int64_t v = begin; v < end; ++v) {
      const int64_t count = found.begin[v + 1] - found.begin[v];
      if (count == 0) {
        std::memset(bytes_of(out) + v * bytes, 0, bytes);
      } else {
        sum_rows(bytes_of(grad), found.places.data() + found.begin[v], count, width, scratch.data(),
                 bytes_of(out) + v * bytes);
      }
    }
  });
  return out;
}

struct EmbeddingFunction : torch::autograd::Function<EmbeddingFunction> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& weight,
                            const at::Tensor& tokens) {
    context->save_for_backward({tokens});
    context->saved_data["vocabulary"] = weight.size(0);
    return rows_of(weight.contiguous(), tokens);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list grads) {
    const at::Tensor tokens = context->get_saved_variables()[0];
    return {grad_of_rows(grads[0].contiguous(), tokens, context->saved_data["vocabulary"].toInt()), {}};
  }
};

}  // namespace

at::Tensor embedding(const at::Tensor& weight, const at::Tensor& tokens) {
  require(weight.dim() == 2, "embedding: weight is ", weight.sizes(), ", expected [V, H]");
  require(tokens.scalar_type() == at::kLong, "embedding: tokens are ", tokens.scalar_type(), ", expected int64");
  const bool on_gpu = mps::is_fast(weight) && tokens.numel() > 0;
  if (!on_gpu && !cpu::is_fast(weight)) return embedding_ref(weight, tokens);
  const at::Tensor dense = tokens.contiguous();
  if (!on_gpu) check_tokens(dense, weight.size(0));
  if (at::GradMode::is_enabled() && weight.requires_grad()) return EmbeddingFunction::apply(weight, dense);
  return rows_of(weight.contiguous(), dense);
}

}  // namespace xinslm
