// Mixture of experts but for the products: the choice of experts, the order of the work, activation, sums over choices.
#include "swiglu.metal.h"

constant constexpr int simd_width = 32;

/// The softmax of a token's router logits, from their largest: 1 / sum of exp(logit - largest).
inline float2 softmax_of(device const float* logits, int experts, uint lane) {
  float largest = -INFINITY;
  for (int e = int(lane); e < experts; e += simd_width) largest = max(largest, logits[e]);
  largest = simd_max(largest);
  float sum = 0;
  for (int e = int(lane); e < experts; e += simd_width) sum += exp(logits[e] - largest);
  return float2(largest, 1.0f / simd_sum(sum));
}

/// The k experts of the largest scores, best first, of equal ones that of the lower number; NaN counts as infinite, so
/// that k different experts are always found. Weights: softmax over the chosen logits or, with `before`, over all. A
/// simdgroup for each token; k at most 32, the lanes.
///
/// logits   [N, E], bias [E] is added for the choice only
/// chosen   [N, k], weights [N, k]
kernel void route(device const float* logits [[buffer(0)]], device const float* bias [[buffer(1)]],
                  device long* chosen [[buffer(2)]], device float* weights [[buffer(3)]],
                  constant long& tokens [[buffer(4)]], constant long& experts [[buffer(5)]],
                  constant long& k [[buffer(6)]], constant long& has_bias [[buffer(7)]],
                  constant long& before [[buffer(8)]], uint place [[thread_position_in_grid]],
                  uint lane [[thread_index_in_simdgroup]]) {
  const uint token = place / simd_width;
  if (token >= tokens) return;
  const int count = int(experts);
  device const float* own = logits + token * experts;
  float last = INFINITY, logit = -INFINITY;
  int last_expert = -1, choice = 0;
  for (int j = 0; j < int(k); ++j) {
    float best = -INFINITY;
    int best_expert = count;
    for (int e = int(lane); e < count; e += simd_width) {
      float score = own[e] + (has_bias != 0 ? bias[e] : 0.0f);
      if (score != score) score = INFINITY;
      const bool left = score < last || (score == last && e > last_expert);
      if (left && (best_expert == count || score > best)) {
        best = score;
        best_expert = e;
      }
    }
    last = simd_max(best);
    last_expert = simd_min(best == last ? best_expert : count);
    if (int(lane) == j) {
      choice = last_expert;
      logit = own[choice];
    }
  }
  const bool mine = lane < k;
  float weight;
  if (before != 0) {
    const float2 softmax = softmax_of(own, count, lane);
    weight = exp(logit - softmax.x) * softmax.y;
  } else {
    const float largest = simd_max(logit);
    weight = mine ? exp(logit - largest) : 0.0f;
    weight /= simd_sum(weight);
  }
  if (!mine) return;
  chosen[token * k + lane] = choice;
  weights[token * k + lane] = weight;
}

/// Gradient of the router logits [N, E] from that of the weights [N, k].
kernel void route_backward(device const float* logits [[buffer(0)]], device const long* chosen [[buffer(1)]],
                           device const float* weights [[buffer(2)]], device const float* grad_weights [[buffer(3)]],
                           device float* grad_logits [[buffer(4)]], constant long& tokens [[buffer(5)]],
                           constant long& experts [[buffer(6)]], constant long& k [[buffer(7)]],
                           constant long& before [[buffer(8)]], uint place [[thread_position_in_grid]],
                           uint lane [[thread_index_in_simdgroup]]) {
  const uint token = place / simd_width;
  if (token >= tokens) return;
  const int count = int(experts);
  device const float* own = logits + token * experts;
  const bool mine = lane < k;
  const int choice = mine ? int(chosen[token * k + lane]) : -1;
  const float weight = mine ? weights[token * k + lane] : 0.0f;
  const float share = weight * (mine ? grad_weights[token * k + lane] : 0.0f);
  const float total = simd_sum(share);
  const float direct = before != 0 ? share : share - weight * total;
  float2 softmax = float2(0.0f);
  if (before != 0) softmax = softmax_of(own, count, lane);
  for (int first = 0; first < count; first += simd_width) {
    const int expert = first + int(lane);
    float grad = 0;
    for (int j = 0; j < int(k); ++j) {
      const float of_choice = simd_broadcast(direct, ushort(j));
      if (simd_broadcast(choice, ushort(j)) == expert) grad = of_choice;
    }
    if (expert >= count) continue;
    if (before != 0) grad -= exp(own[expert] - softmax.x) * softmax.y * total;
    grad_logits[token * experts + expert] = grad;
  }
}

/// Sorts choices by expert, in the order of tokens within each. A threadgroup of 8 simdgroups for each expert. Experts
/// outside of [0, E) count as the nearest there is.
///
/// chosen   [count]
/// begin    [E + 1] first place of each expert
/// choices  [count] choice of each place, places [count] place of each choice
/// tiles    [count / tile_rows + E] expert, first place and end of each tile of at most tile_rows places; the room that
///          an expert's tiles may need begins at first place / tile_rows + expert, and empty tiles fill the rest
kernel void sort_choices(device const long* chosen [[buffer(0)]], device int* begin [[buffer(1)]],
                         device int* choices [[buffer(2)]], device int* places [[buffer(3)]],
                         device int4* tiles [[buffer(4)]], constant long& choice_count [[buffer(5)]],
                         constant long& experts [[buffer(6)]], constant long& tile_rows [[buffer(7)]],
                         uint group [[threadgroup_position_in_grid]],
                         uint thread_index [[thread_index_in_threadgroup]],
                         uint simdgroup [[simdgroup_index_in_threadgroup]],
                         uint lane [[thread_index_in_simdgroup]]) {
  constexpr int simdgroups = 8;
  threadgroup int smaller[simdgroups];
  threadgroup int equal[simdgroups];
  const int expert = int(group), last = int(experts) - 1, count = int(choice_count);
  const int part = (count + simdgroups * simd_width - 1) / (simdgroups * simd_width) * simd_width;
  const int start = int(simdgroup) * part, stop = min(start + part, count);
  int smaller_here = 0, equal_here = 0;
  for (int i = start + int(lane); i < stop; i += simd_width) {
    const int of_choice = clamp(int(chosen[i]), 0, last);
    smaller_here += of_choice < expert;
    equal_here += of_choice == expert;
  }
  smaller_here = simd_sum(smaller_here);
  equal_here = simd_sum(equal_here);
  if (lane == 0) {
    smaller[simdgroup] = smaller_here;
    equal[simdgroup] = equal_here;
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  int first = 0, size = 0, next = 0;
  for (int i = 0; i < simdgroups; ++i) {
    first += smaller[i];
    next += i < int(simdgroup) ? equal[i] : 0;
    size += equal[i];
  }
  next += first;
  for (int from = start; from < stop; from += simd_width) {
    const int i = from + int(lane);
    const int is_equal = i < stop && clamp(int(chosen[i]), 0, last) == expert ? 1 : 0;
    const int place = next + simd_prefix_exclusive_sum(is_equal);
    if (is_equal != 0) {
      choices[place] = i;
      places[i] = place;
    }
    next += simd_sum(is_equal);
  }
  const int end = first + size, height = int(tile_rows);
  if (thread_index == 0) begin[expert] = first;
  if (thread_index == 0 && expert == last) begin[expert + 1] = end;
  const int first_tile = first / height + expert, end_tile = end / height + expert + 1;
  for (int tile = first_tile + int(thread_index); tile < end_tile; tile += simdgroups * simd_width) {
    const int from = min(first + (tile - first_tile) * height, end);
    tiles[tile] = int4(expert, from, min(from + height, end), 0);
  }
}

/// out[token] = sum over its choices of weight * rows[place of the choice], or of the rows without weights (then k of
/// them is all that matters). A thread for each column (x) and token (y).
template <typename T>
kernel void combine(device const T* rows [[buffer(0)]], device const int* places [[buffer(1)]],
                    device const float* weights [[buffer(2)]], device T* out [[buffer(3)]],
                    constant long& k [[buffer(4)]], constant long& columns [[buffer(5)]],
                    constant long& weighted [[buffer(6)]], uint2 place [[thread_position_in_grid]]) {
  float sum = 0;
  for (int j = 0; j < int(k); ++j) {
    const long choice = place.y * k + j;
    const float value = float(rows[places[choice] * columns + place.x]);
    sum += weighted != 0 ? weights[choice] * value : value;
  }
  out[place.y * columns + place.x] = T(sum);
}

template <typename T>
kernel void swiglu_forward(device const T* gate_up [[buffer(0)]], device T* act [[buffer(1)]],
                           constant long& limit_bits [[buffer(2)]], uint place [[thread_position_in_grid]]) {
  const vec<T, 2> pair = ((device const vec<T, 2>*)gate_up)[place];
  act[place] = T(swiglu_value(float(pair.x), float(pair.y), real(limit_bits)));
}

/// Swiglu's value and its derivatives by gate and linear part.
inline float3 swiglu_derivatives(float gate, float linear, float limit) {
  const bool gate_free = limit <= 0 || gate <= limit;
  const bool linear_free = limit <= 0 || (linear >= -limit && linear <= limit);
  const float slope = limit > 0 ? 1.702f : 1.0f, shift = limit > 0 ? 1.0f : 0.0f;
  if (limit > 0) {
    gate = gate > limit ? limit : gate;
    linear = linear > limit ? limit : (linear < -limit ? -limit : linear);
  }
  const float sigmoid = 1.0f / (1.0f + exp(-slope * gate)), silu = gate * sigmoid, factor = linear + shift;
  return float3(silu * factor, gate_free ? (sigmoid + slope * silu * (1.0f - sigmoid)) * factor : 0.0f,
                linear_free ? silu : 0.0f);
}

template <typename T>
kernel void swiglu_backward(device const T* gate_up [[buffer(0)]], device const T* grad_act [[buffer(1)]],
                            device T* grad [[buffer(2)]], constant long& limit_bits [[buffer(3)]],
                            uint place [[thread_position_in_grid]]) {
  const vec<T, 2> pair = ((device const vec<T, 2>*)gate_up)[place];
  const float3 found = swiglu_derivatives(float(pair.x), float(pair.y), real(limit_bits));
  ((device vec<T, 2>*)grad)[place] = vec<T, 2>(float2(found.y, found.z) * float(grad_act[place]));
}

/// The same for the rows of sorted choices, and what else their gradients want. A simdgroup for each place.
///
/// gate_up       [places, 2 I], with bias
/// grad_act      [places, I] gradient of act * down as if the weight of the choice were 1
/// grad_out      [N, H], down_bias [E, H]
/// weighted_act  [places, I] weight * act, grad [places, 2 I] of gate_up
/// grad_weights  [N, k]
template <typename T>
kernel void experts_swiglu_backward(
    device const T* gate_up [[buffer(0)]], device const T* grad_act [[buffer(1)]],
    device const T* grad_out [[buffer(2)]], device const float* down_bias [[buffer(3)]],
    device const long* chosen [[buffer(4)]], device const float* weights [[buffer(5)]],
    device const int* choices [[buffer(6)]], device T* weighted_act [[buffer(7)]], device T* grad [[buffer(8)]],
    device float* grad_weights [[buffer(9)]], constant long& place_count [[buffer(10)]],
    constant long& k [[buffer(11)]], constant long& width [[buffer(12)]], constant long& hidden [[buffer(13)]],
    constant long& has_bias [[buffer(14)]], constant long& experts [[buffer(15)]],
    constant long& limit_bits [[buffer(16)]], uint position [[thread_position_in_grid]],
    uint lane [[thread_index_in_simdgroup]]) {
  const long place = position / simd_width;
  if (place >= place_count) return;
  const int choice = choices[place], token = choice / int(k);
  const float weight = weights[choice], limit = real(limit_bits);
  device const vec<T, 2>* pairs = (device const vec<T, 2>*)gate_up + place * width;
  device vec<T, 2>* grad_pairs = (device vec<T, 2>*)grad + place * width;
  float sum = 0;
  for (int i = int(lane); i < int(width); i += simd_width) {
    const float3 found = swiglu_derivatives(float(pairs[i].x), float(pairs[i].y), limit);
    const float of_act = float(grad_act[place * width + i]);
    sum += found.x * of_act;
    weighted_act[place * width + i] = T(weight * found.x);
    grad_pairs[i] = vec<T, 2>(float2(found.y, found.z) * (weight * of_act));
  }
  if (has_bias != 0) {
    device const float* shift = down_bias + clamp(chosen[choice], 0L, experts - 1) * hidden;
    for (int i = int(lane); i < int(hidden); i += simd_width) sum += shift[i] * float(grad_out[token * hidden + i]);
  }
  sum = simd_sum(sum);
  if (lane == 0) grad_weights[choice] = sum;
}

/// Sums over the places of each expert: gradients of biases. With k the rows are those of the tokens of the choices,
/// times their weights; without, those of the places. A thread for each column (x) and expert (y).
template <typename T>
kernel void sum_of_places(device const T* rows [[buffer(0)]], device const int* choices [[buffer(1)]],
                          device const float* weights [[buffer(2)]], device const int* begin [[buffer(3)]],
                          device float* sums [[buffer(4)]], constant long& k [[buffer(5)]],
                          constant long& columns [[buffer(6)]], uint2 position [[thread_position_in_grid]]) {
  const int end = begin[position.y + 1];
  float sum = 0;
  for (int place = begin[position.y]; place < end; ++place) {
    if (k == 0) {
      sum += float(rows[place * columns + position.x]);
    } else {
      const int choice = choices[place];
      sum += weights[choice] * float(rows[choice / int(k) * columns + position.x]);
    }
  }
  sums[position.y * columns + position.x] = sum;
}

KERNELS(combine)
KERNELS(swiglu_forward)
KERNELS(swiglu_backward)
KERNELS(experts_swiglu_backward)
KERNELS(sum_of_places)
