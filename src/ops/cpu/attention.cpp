#include "ops/cpu/attention.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <cmath>
#include <unordered_map>

#include "ops/cpu/attention_kernels.h"
#include "ops/cpu/dispatch.h"
#include "ops/cpu/parallel.h"

namespace xinslm::cpu {
namespace {

at::Tensor with_dense_rows(const at::Tensor& x) {
  return x.stride(3) == 1 || x.size(3) == 1 ? x : x.contiguous();
}

/// [B, heads, T, D], tokens before heads in memory: joining the heads afterwards is then a view.
at::Tensor empty_heads(at::IntArrayRef sizes, const at::TensorOptions& options) {
  const int64_t heads = sizes[1], tokens = sizes[2], width = sizes[3];
  return at::empty_strided(sizes, {tokens * heads * width, width, heads * width, 1}, options);
}

HeadsArray heads_array(const at::Tensor& x) {
  return {x.data_ptr(), x.stride(0), x.stride(1), x.stride(2)};
}

at::Tensor scratch(int64_t size) {
  return at::empty({size}, at::TensorOptions().dtype(at::kFloat));
}

int64_t aligned(int64_t floats) {
  return (floats + 15) / 16 * 16;
}

/// Small numbers in place of document ids, [B, stride] int32.
at::Tensor dense_documents(const at::Tensor& document_ids, int64_t stride) {
  const at::Tensor ids = document_ids.contiguous();
  const int64_t batch = ids.size(0), keys = ids.size(1);
  at::Tensor dense = at::zeros({batch, stride}, at::TensorOptions().dtype(at::kInt));
  for (int64_t b = 0; b < batch; ++b) {
    const int64_t* from = ids.const_data_ptr<int64_t>() + b * keys;
    int32_t* to = dense.mutable_data_ptr<int32_t>() + b * stride;
    std::unordered_map<int64_t, int32_t> numbers;
    for (int64_t i = 0; i < keys; ++i) {
      to[i] = i > 0 && from[i] == from[i - 1]
                  ? to[i - 1]
                  : numbers.emplace(from[i], static_cast<int32_t>(numbers.size())).first->second;
    }
  }
  return dense;
}

/// The problem and the tensors its pointers lead to.
struct Problem : AttentionProblem {
  Element element;
  at::Tensor query_tensor, key_tensor, value_tensor, sinks_tensor, documents_tensor;

  explicit Problem(const AttentionInput& input) : AttentionProblem{} {
    query_tensor = with_dense_rows(input.query);
    key_tensor = with_dense_rows(input.key);
    value_tensor = with_dense_rows(input.value);
    element = element_of(query_tensor);
    batch = query_tensor.size(0);
    heads = query_tensor.size(1);
    kv_heads = key_tensor.size(1);
    queries = query_tensor.size(2);
    keys = key_tensor.size(2);
    width = query_tensor.size(3);
    window = input.window;
    scale = static_cast<float>(1 / std::sqrt(static_cast<double>(width)));
    query = heads_array(query_tensor);
    key = heads_array(key_tensor);
    value = heads_array(value_tensor);
    if (input.sinks.defined()) {
      sinks_tensor = input.sinks.to(at::kFloat).contiguous();
      sinks = sinks_tensor.const_data_ptr<float>();
    }
    if (input.document_ids.defined()) {
      documents_tensor = dense_documents(input.document_ids, document_stride());
      documents = documents_tensor.const_data_ptr<int32_t>();
    }
  }
};

}  // namespace

AttentionOutput attention_forward(const AttentionInput& input) {
  Problem p(input);
  const AttentionKernels& kernels = attention_kernels();
  AttentionOutput output;
  output.out = empty_heads(input.query.sizes(), input.query.options());
  output.log_sum = at::empty({p.batch, p.heads, p.queries}, input.query.options().dtype(at::kFloat));
  p.out = heads_array(output.out);
  p.log_sum = output.log_sum.mutable_data_ptr<float>();

  const int64_t packed_size = aligned(p.packed_size());
  const at::Tensor packed = scratch(p.batch * p.kv_heads * packed_size);
  float* packed_data = packed.mutable_data_ptr<float>();
  at::parallel_for(0, p.batch * p.kv_heads, 1, [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task) kernels.pack[p.element](p, task, packed_data + task * packed_size);
  });
  const int64_t group = p.heads / p.kv_heads;
  at::parallel_for(0, p.batch * p.heads * p.query_tiles(), 1, [&](int64_t begin, int64_t end) {
    const at::Tensor own = scratch(p.forward_scratch_size());
    for (int64_t task = begin; task < end; ++task) {
      const int64_t kv = task / p.query_tiles() / group;  // heads of a group follow one another
      kernels.forward[p.element](p, task, packed_data + kv * packed_size, own.mutable_data_ptr<float>());
    }
  });
  return output;
}

at::Tensor attention_decode(const AttentionInput& input) {
  Problem p(input);
  const at::Tensor out = empty_heads(input.query.sizes(), input.query.options());
  p.out = heads_array(out);
  const AttentionKernels& kernels = attention_kernels();
  const int64_t work = p.heads / p.kv_heads * p.queries * p.keys * p.width;
  at::parallel_for(0, p.batch * p.kv_heads, rows_per_thread(work), [&](int64_t begin, int64_t end) {
    const at::Tensor own = scratch(p.keys);
    for (int64_t task = begin; task < end; ++task) kernels.decode[p.element](p, task, own.mutable_data_ptr<float>());
  });
  return out;
}

AttentionGradients attention_backward(const AttentionInput& input, const AttentionOutput& output,
                                      const at::Tensor& grad_out) {
  Problem p(input);
  const at::Tensor grad = with_dense_rows(grad_out.to(input.query.scalar_type()));
  AttentionGradients gradients;
  gradients.query = empty_heads(input.query.sizes(), input.query.options());
  gradients.key = empty_heads(input.key.sizes(), input.key.options());
  gradients.value = empty_heads(input.value.sizes(), input.value.options());
  at::Tensor grad_sinks;
  if (input.sinks.defined()) {
    grad_sinks = at::empty({p.batch, p.heads}, input.query.options().dtype(at::kFloat));
    p.grad_sinks = grad_sinks.mutable_data_ptr<float>();
  }
  p.out = heads_array(output.out);
  p.log_sum = output.log_sum.mutable_data_ptr<float>();
  p.grad_out = heads_array(grad);
  p.grad_query = heads_array(gradients.query);
  p.grad_key = heads_array(gradients.key);
  p.grad_value = heads_array(gradients.value);
  const AttentionKernels& kernels = attention_kernels();
  at::parallel_for(0, p.batch * p.kv_heads, 1, [&](int64_t begin, int64_t end) {
    const at::Tensor own = scratch(aligned(p.backward_scratch_size()));
    for (int64_t task = begin; task < end; ++task) kernels.backward[p.element](p, task, own.mutable_data_ptr<float>());
  });
  if (grad_sinks.defined()) gradients.sinks = grad_sinks.sum(0);
  return gradients;
}

}  // namespace xinslm::cpu
