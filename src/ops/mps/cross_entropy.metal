// The loss of rows of logits and, in their place, its gradient; one threadgroup each row.

constant constexpr int simdgroups_at_most = 32;

/// A softmax over what was seen so far, and what else one pass over a row finds.
struct RowSums {
  float most, exponentials;  // the largest logit; sum of exp(logit - most)
  float logits;
  int beaten;  // whether another logit is larger than the target's, or as large and earlier
};

inline float capped(float logit, float cap) {
  return cap > 0.0f ? cap * precise::tanh(logit / cap) : logit;
}

inline RowSums sums_of(RowSums sums) {
  const float most = simd_max(sums.most);
  sums.exponentials = simd_sum(sums.exponentials * fast::exp(sums.most - most));
  sums.most = most;
  sums.logits = simd_sum(sums.logits);
  sums.beaten = simd_any(sums.beaten != 0) ? 1 : 0;
  return sums;
}

/// losses [n] = -(1 - smoothing) log p(target) - smoothing mean(log p), over softmax(cap tanh(logits / cap)); greedy [n]:
/// the target is the first of the most probable. Rows of the target `ignored` have neither loss nor gradient; a target
/// outside of the vocabulary makes both not-a-number.
template <typename T>
kernel void cross_entropy(device T* logits [[buffer(0)]], device const long* targets [[buffer(1)]],
                          device float* losses [[buffer(2)]], device bool* greedy [[buffer(3)]],
                          constant long& vocabulary [[buffer(4)]], constant long& ignored [[buffer(5)]],
                          constant long& smoothing_bits [[buffer(6)]], constant long& cap_bits [[buffer(7)]],
                          constant long& has_gradient [[buffer(8)]], uint row [[threadgroup_position_in_grid]],
                          uint thread_index [[thread_index_in_threadgroup]],
                          uint threads [[threads_per_threadgroup]],
                          uint simdgroup [[simdgroup_index_in_threadgroup]],
                          uint lane [[thread_index_in_simdgroup]],
                          uint simdgroups [[simdgroups_per_threadgroup]]) {
  threadgroup float most_parts[simdgroups_at_most];
  threadgroup float exponential_parts[simdgroups_at_most];
  threadgroup float logit_parts[simdgroups_at_most];
  threadgroup int beaten_parts[simdgroups_at_most];
  device T* own = logits + long(row) * vocabulary;
  const long target = targets[row], words = vocabulary, step = long(threads);
  const bool is_ignored = target == ignored, is_valid = target >= 0 && target < words;
  const float cap = real(cap_bits), smoothing = real(smoothing_bits);
  if (!is_ignored) {
    const float wanted = is_valid ? capped(float(own[target]), cap) : NAN;
    RowSums sums;
    sums.most = -FLT_MAX;
    sums.exponentials = sums.logits = 0.0f;
    sums.beaten = 0;
    for (long i = long(thread_index); i < words; i += step) {
      const float logit = capped(float(own[i]), cap);
      if (logit > sums.most) {
        sums.exponentials = sums.exponentials * fast::exp(sums.most - logit) + 1.0f;
        sums.most = logit;
      } else {
        sums.exponentials += fast::exp(logit - sums.most);
      }
      sums.logits += logit;
      if (!(logit <= wanted) || (logit == wanted && i < target)) sums.beaten = 1;
    }
    sums = sums_of(sums);
    if (lane == 0) {
      most_parts[simdgroup] = sums.most;
      exponential_parts[simdgroup] = sums.exponentials;
      logit_parts[simdgroup] = sums.logits;
      beaten_parts[simdgroup] = sums.beaten;
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    const bool has_part = lane < simdgroups;
    sums.most = has_part ? most_parts[lane] : -FLT_MAX;
    sums.exponentials = has_part ? exponential_parts[lane] : 0.0f;
    sums.logits = has_part ? logit_parts[lane] : 0.0f;
    sums.beaten = has_part ? beaten_parts[lane] : 0;
    sums = sums_of(sums);

    const float log_sum = sums.most + log(sums.exponentials);
    if (thread_index == 0) {
      losses[row] = log_sum - (1.0f - smoothing) * wanted - smoothing * (sums.logits / float(words));
      greedy[row] = sums.beaten == 0;
    }
    if (has_gradient == 0) return;
    const float share = is_valid ? smoothing / float(words) : NAN;
    for (long i = long(thread_index); i < words; i += step) {
      const float logit = capped(float(own[i]), cap);
      float grad = fast::exp(logit - log_sum) - share;
      if (i == target) grad -= 1.0f - smoothing;
      if (cap > 0.0f) grad *= 1.0f - (logit / cap) * (logit / cap);
      own[i] = T(grad);
    }
  } else {
    if (thread_index == 0) {
      losses[row] = 0.0f;
      greedy[row] = false;
    }
    if (has_gradient == 0) return;
    for (long i = long(thread_index); i < words; i += step) own[i] = T(0.0f);
  }
}

KERNELS(cross_entropy)
