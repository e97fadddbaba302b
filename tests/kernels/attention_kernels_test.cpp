#include "ops/cpu/attention_kernels.h"

#include "kernels/kernel_values.h"

namespace xinslm::test {
namespace {

struct Sizes {
  int64_t batch, heads, kv_heads, queries, keys, width, window;
  bool sinks, documents;
};

/// A problem, its memory, and what plain arithmetic makes of it. Arrays are [batch, heads, tokens, width].
struct Problem {
  AttentionProblem p{};
  Values query, key, value, grad_out, sinks;
  std::vector<int32_t> documents;
  Doubles out, log_sum, grad_query, grad_key, grad_value, grad_sinks;

  Problem(const Sizes& s, Element e, std::mt19937& random)
      : query(random_values(e, s.batch * s.heads * s.queries * s.width, random)),
        key(random_values(e, s.batch * s.kv_heads * s.keys * s.width, random)),
        value(random_values(e, key.size(), random)),
        grad_out(random_values(e, query.size(), random)),
        sinks(random_values(element_float32, s.heads, random)) {
    p.batch = s.batch;
    p.heads = s.heads;
    p.kv_heads = s.kv_heads;
    p.queries = s.queries;
    p.keys = s.keys;
    p.width = s.width;
    p.window = s.window;
    p.scale = static_cast<float>(1 / std::sqrt(static_cast<double>(s.width)));
    p.query = array(query, s.heads, s.queries);
    p.key = array(key, s.kv_heads, s.keys);
    p.value = array(value, s.kv_heads, s.keys);
    p.grad_out = array(grad_out, s.heads, s.queries);
    if (s.sinks) p.sinks = sinks.floats();
    if (s.documents) {
      documents.resize(static_cast<size_t>(s.batch * p.document_stride()));
      for (int64_t b = 0; b < s.batch; ++b) {
        for (int64_t i = 0; i < s.keys; ++i)
          documents[b * p.document_stride() + i] = static_cast<int32_t>((i + b) / 29);
      }
      p.documents = documents.data();
    }
    compute();
  }

  HeadsArray array(const Values& values, int64_t heads, int64_t tokens) const {
    return {values.data(), heads * tokens * p.width, tokens * p.width, p.width};
  }
  bool sees(int64_t batch, int64_t position, int64_t of_key) const {
    if (of_key > position || (p.window > 0 && position - of_key >= p.window)) return false;
    const int32_t* ids = p.documents + batch * p.document_stride();
    return !p.documents || ids[position] == ids[of_key];
  }
  double dot(const Values& a, int64_t row_of_a, const Values& b, int64_t row_of_b) const {
    double sum = 0;
    for (int64_t i = 0; i < p.width; ++i) sum += a[row_of_a * p.width + i] * b[row_of_b * p.width + i];
    return sum;
  }

  void compute() {
    out.resize(static_cast<size_t>(query.size()));
    grad_query = out;
    grad_key.resize(static_cast<size_t>(key.size()));
    grad_value = grad_key;
    grad_sinks.resize(static_cast<size_t>(p.batch * p.heads));
    for (int64_t head = 0; head < p.batch * p.heads; ++head) {
      for (int64_t i = 0; i < p.queries; ++i) compute_query(head / p.heads, head % p.heads, i);
    }
  }
  void compute_query(int64_t batch, int64_t head, int64_t i) {
    const int64_t row = (batch * p.heads + head) * p.queries + i, position = p.keys - p.queries + i;
    const int64_t first_key = (batch * p.kv_heads + head / (p.heads / p.kv_heads)) * p.keys;
    const double of_sink = p.sinks ? std::exp(sinks[head]) : 0;
    Doubles probabilities(static_cast<size_t>(p.keys));
    double total = of_sink, delta = 0;
    for (int64_t j = 0; j < p.keys; ++j) {
      if (sees(batch, position, j)) probabilities[j] = std::exp(dot(query, row, key, first_key + j) * p.scale);
      total += probabilities[j];
    }
    log_sum.push_back(std::log(total));
    for (int64_t j = 0; j < p.keys; ++j) {
      probabilities[j] /= total;
      delta += probabilities[j] * dot(grad_out, row, value, first_key + j);
      for (int64_t d = 0; d < p.width; ++d)
        out[row * p.width + d] += probabilities[j] * value[(first_key + j) * p.width + d];
    }
    grad_sinks[batch * p.heads + head] -= of_sink / total * delta;
    for (int64_t j = 0; j < p.keys; ++j) {
      const double by_score = probabilities[j] * (dot(grad_out, row, value, first_key + j) - delta) * p.scale;
      for (int64_t d = 0; d < p.width; ++d) {
        const int64_t of_query = row * p.width + d, of_key = (first_key + j) * p.width + d;
        grad_query[of_query] += by_score * key[of_key];
        grad_key[of_key] += by_score * query[of_query];
        grad_value[of_key] += probabilities[j] * grad_out[of_query];
      }
    }
  }
};

void check(const Sizes& s, Element e, std::mt19937& random, Checks& checks) {
  const AttentionKernels& kernels = attention_kernels();
  Problem problem(s, e, random);
  AttentionProblem& p = problem.p;
  const std::string what = at_size("attention", s.queries, s.keys);
  const int64_t group = s.heads / s.kv_heads;

  Values out(e, problem.query.size()), log_sum(element_float32, s.batch * s.heads * s.queries);
  p.out = problem.array(out, s.heads, s.queries);
  const Values decode_scratch(element_float32, s.keys);
  for (int64_t task = 0; task < s.batch * s.kv_heads; ++task) kernels.decode[e](p, task, decode_scratch.floats());
  checks.near(out, problem.out, what + ", decode", 1e-5);

  const Values again(e, problem.query.size());
  p.out = problem.array(again, s.heads, s.queries);
  p.log_sum = log_sum.floats();
  for (int64_t task = 0; task < s.batch * s.kv_heads; ++task) {
    const Values packed(element_float32, p.packed_size()), scratch(element_float32, p.forward_scratch_size());
    kernels.pack[e](p, task, packed.floats());
    for (int64_t tile = 0; tile < group * p.query_tiles(); ++tile) {
      kernels.forward[e](p, task * group * p.query_tiles() + tile, packed.floats(), scratch.floats());
    }
    checks.at_most(packed.guards_intact() && scratch.guards_intact() ? 0 : 1, 0, what + " writes beyond its scratch");
  }
  checks.near(again, problem.out, what, e == element_bfloat16 && multiplies_pairs() ? 1e-3 : 1e-5);
  checks.near(log_sum, problem.log_sum, what + ", log_sum", 1e-5);

  const Values grad_query(e, problem.query.size()), grad_key(e, problem.key.size()), grad_value(e, problem.key.size());
  const Values grad_sinks(element_float32, s.batch * s.heads);
  p.grad_query = problem.array(grad_query, s.heads, s.queries);
  p.grad_key = problem.array(grad_key, s.kv_heads, s.keys);
  p.grad_value = problem.array(grad_value, s.kv_heads, s.keys);
  if (s.sinks) p.grad_sinks = grad_sinks.floats();
  for (int64_t task = 0; task < s.batch * s.kv_heads; ++task) {
    const Values scratch(element_float32, p.backward_scratch_size());
    kernels.backward[e](p, task, scratch.floats());
    checks.at_most(scratch.guards_intact() ? 0 : 1, 0, what + "'s gradient writes beyond its scratch");
  }
  const double tolerance = e == element_float32 ? 1e-5 : 1e-2;  // the forward pass's output was rounded
  checks.near(grad_query, problem.grad_query, what + ", grad_query", tolerance);
  checks.near(grad_key, problem.grad_key, what + ", grad_key", tolerance);
  checks.near(grad_value, problem.grad_value, what + ", grad_value", tolerance);
  // A sum of many numbers of both signs.
  checks.near(grad_sinks, s.sinks ? problem.grad_sinks : Doubles(problem.grad_sinks.size()), what + ", grad_sinks",
              5 * tolerance);
}

}  // namespace

void check_attention_kernels(Checks& checks) {
  std::mt19937 random(6);
  for (const Element e : all_elements) {
    check({1, 1, 1, 1, 1, 4, 0, false, false}, e, random, checks);
    check({2, 4, 2, 5, 5, 16, 0, true, false}, e, random, checks);
    check({1, 2, 1, 67, 67, 20, 0, true, false}, e, random, checks);
    check({1, 2, 2, 70, 133, 7, 33, true, true}, e, random, checks);
    check({2, 2, 1, 66, 131, 64, 128, false, true}, e, random, checks);
    check({1, 1, 1, 3, 1100, 8, 0, true, false}, e, random, checks);  // more keys than a strip
  }
}

}  // namespace xinslm::test
