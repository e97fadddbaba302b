// Products of one row, or few, with packed matrices: decoding, bound by reading the weights. A simdgroup takes four
// neighbouring rows of a matrix at a time; a lane takes half a block, 16 columns, of each, and every 32nd half block of
// the row. The activations of its columns stay in registers meanwhile.
#include "packed_blocks.metal.h"
#include "swiglu.metal.h"

constant constexpr int matrix_rows = 4, simd_width = 32;

/// Sixteen activations.
struct Columns {
  float4 of[4];

  template <typename T>
  void load(device const T* x) {
    for (int i = 0; i < 4; ++i) of[i] = float4(*(device const vec<T, 4>*)(x + 4 * i));
  }
};

/// Rows of MXFP4: [rows, halves] of 8 bytes, the even column of a pair in the low half of its byte, and a scale for two.
/// A table in threadgroup memory decodes: there 32 lanes look up at once, in constant memory they would wait.
struct Mxfp4Rows {
  device const uint2* values;
  device const uchar* scales;
  threadgroup const float* table;

  Mxfp4Rows(device const uchar* values, device const uchar* scales, threadgroup const float* table)
      : values((device const uint2*)values), scales(scales), table(table) {}

  float4 four(uint codes) const {
    return float4(table[codes & 15], table[codes >> 4 & 15], table[codes >> 8 & 15], table[codes >> 12 & 15]);
  }

  float product(long half_block, Columns x) const {
    const uint2 codes = values[half_block];
    const float sum = dot(x.of[0], four(codes.x)) + dot(x.of[1], four(codes.x >> 16)) +
                      dot(x.of[2], four(codes.y)) + dot(x.of[3], four(codes.y >> 16));
    return sum * e8m0_value(scales[half_block / 2]);
  }
};

/// Rows of 8-bit blocks: [rows, halves] of 16 integers, and a scale for two.
struct Q8Rows {
  device const uint4* values;
  device const half* scales;

  Q8Rows(device const uchar* values, device const uchar* scales, threadgroup const float*)
      : values((device const uint4*)values), scales((device const half*)scales) {}

  float product(long half_block, Columns x) const {
    const uint4 integers = values[half_block];
    float sum = 0;
    for (int i = 0; i < 4; ++i) sum += dot(x.of[i], float4(as_type<char4>(integers[i])));
    return sum * float(scales[half_block / 2]);
  }
};

/// Every thread of a group calls it once, before the table is used.
inline void fill_table(threadgroup float* table, uint thread_index) {
  if (thread_index < 16) table[thread_index] = fp4_values[thread_index];
  threadgroup_barrier(mem_flags::mem_threadgroup);
}

/// Products of x [16 halves] with rows [first, first + 4) of a matrix of `rows` that begins at row `base`, for all lanes;
/// of rows that it does not have, those of its last row.
template <typename Matrix, typename T>
inline float4 products(Matrix matrix, device const T* x, long base, long first, long rows, int halves, uint lane) {
  long begin[matrix_rows];
  for (int i = 0; i < matrix_rows; ++i) begin[i] = (base + min(first + i, rows - 1)) * halves;
  float4 sums = float4(0.0f);
  Columns columns;
  for (int half_block = int(lane); half_block < halves; half_block += simd_width) {
    columns.load(x + 16 * half_block);
    for (int i = 0; i < matrix_rows; ++i) sums[i] += matrix.product(begin[i] + half_block, columns);
  }
  for (int i = 0; i < matrix_rows; ++i) sums[i] = simd_sum(sums[i]);
  return sums;
}

/// out = x * matrix^T + bias. A simdgroup for four rows of the matrix (x) and each row of x (y).
///
/// x        [N, columns], out [N, rows]
/// values, scales  one matrix [rows, columns]
/// bias     [rows]
template <typename T, typename Matrix>
kernel void linear_vector(device const T* x [[buffer(0)]], device const uchar* values [[buffer(1)]],
                          device const uchar* scales [[buffer(2)]], device const float* bias [[buffer(3)]],
                          device T* out [[buffer(4)]], constant long& has_bias [[buffer(5)]],
                          constant long& rows [[buffer(6)]], constant long& columns [[buffer(7)]],
                          uint3 group [[threadgroup_position_in_grid]], uint thread_index [[thread_index_in_threadgroup]],
                          uint simdgroup [[simdgroup_index_in_threadgroup]], uint lane [[thread_index_in_simdgroup]],
                          uint simdgroups [[simdgroups_per_threadgroup]]) {
  threadgroup float table[16];
  fill_table(table, thread_index);
  const long first = (long(group.x) * simdgroups + simdgroup) * matrix_rows;
  if (first >= rows) return;
  const Matrix matrix(values, scales, table);
  const float4 sums = products(matrix, x + group.y * columns, 0, first, rows, int(columns / 16), lane);
  const long row = first + lane;
  if (lane < matrix_rows && row < rows) {
    out[group.y * rows + row] = T(sums[lane] + (has_bias != 0 ? bias[row] : 0.0f));
  }
}

/// act = swiglu(x * gate_up^T + bias) of each choice's expert. A simdgroup for two columns of act (x), each choice (y).
///
/// x        [N, H]
/// chosen   [N, k]
/// values, scales  [E, 2 I, H] in MXFP4, interleaved
/// bias     [E, 2 I]
/// act      [N * k, I]
template <typename T>
kernel void gate_up_vector(device const T* x [[buffer(0)]], device const long* chosen [[buffer(1)]],
                           device const uchar* values [[buffer(2)]], device const uchar* scales [[buffer(3)]],
                           device const float* bias [[buffer(4)]], device float* act [[buffer(5)]],
                           constant long& has_bias [[buffer(6)]], constant long& k [[buffer(7)]],
                           constant long& experts [[buffer(8)]], constant long& hidden [[buffer(9)]],
                           constant long& width [[buffer(10)]], constant long& limit_bits [[buffer(11)]],
                           uint3 group [[threadgroup_position_in_grid]],
                           uint thread_index [[thread_index_in_threadgroup]],
                           uint simdgroup [[simdgroup_index_in_threadgroup]],
                           uint lane [[thread_index_in_simdgroup]],
                           uint simdgroups [[simdgroups_per_threadgroup]]) {
  threadgroup float table[16];
  fill_table(table, thread_index);
  const long rows = 2 * width, first = (long(group.x) * simdgroups + simdgroup) * matrix_rows;
  if (first >= rows) return;
  const int token = int(group.y) / int(k);
  const long expert = clamp(chosen[group.y], 0L, experts - 1);
  const Mxfp4Rows matrix(values, scales, table);
  float4 sums = products(matrix, x + token * hidden, expert * rows, first, rows, int(hidden / 16), lane);
  const int pair = 2 * int(lane);
  const long row = first + pair;
  if (pair >= matrix_rows || row >= rows) return;
  float2 both = float2(sums[pair], sums[pair + 1]);
  if (has_bias != 0) both += float2(bias[expert * rows + row], bias[expert * rows + row + 1]);
  act[group.y * width + row / 2] = swiglu_value(both.x, both.y, real(limit_bits));
}

/// out = sum over the choices of a token of weight * (act * down^T + bias). The simdgroups of a group share the choices
/// of four rows of the matrix among `slots` of them; the group has simdgroups / slots times four rows (x) of a token (y).
///
/// act      [N * k, I]
/// chosen, weights  [N, k]
/// values, scales   [E, H, I] in MXFP4
/// bias     [E, H]
/// out      [N, H]
template <typename T>
kernel void down_vector(device const float* act [[buffer(0)]], device const long* chosen [[buffer(1)]],
                        device const float* weights [[buffer(2)]], device const uchar* values [[buffer(3)]],
                        device const uchar* scales [[buffer(4)]], device const float* bias [[buffer(5)]],
                        device T* out [[buffer(6)]], constant long& has_bias [[buffer(7)]],
                        constant long& k [[buffer(8)]], constant long& experts [[buffer(9)]],
                        constant long& hidden [[buffer(10)]], constant long& width [[buffer(11)]],
                        constant long& slots [[buffer(12)]], uint3 group [[threadgroup_position_in_grid]],
                        uint thread_index [[thread_index_in_threadgroup]],
                        uint simdgroup [[simdgroup_index_in_threadgroup]], uint lane [[thread_index_in_simdgroup]],
                        uint simdgroups [[simdgroups_per_threadgroup]]) {
  threadgroup float table[16];
  threadgroup float4 partial[4];
  fill_table(table, thread_index);
  const int slot = int(simdgroup) % int(slots), pieces = int(simdgroups) / int(slots);
  const long first = (long(group.x) * pieces + simdgroup / uint(slots)) * matrix_rows;
  const Mxfp4Rows matrix(values, scales, table);
  float4 sums = float4(0.0f);
  for (int j = slot; first < hidden && j < int(k); j += int(slots)) {
    const long choice = group.y * k + j, expert = clamp(chosen[choice], 0L, experts - 1);
    float4 own = products(matrix, act + choice * width, expert * hidden, first, hidden, int(width / 16), lane);
    for (int i = 0; has_bias != 0 && i < matrix_rows; ++i) own[i] += bias[expert * hidden + min(first + i, hidden - 1)];
    sums += weights[choice] * own;
  }
  if (lane == 0) partial[simdgroup] = sums;
  threadgroup_barrier(mem_flags::mem_threadgroup);
  const long row = first + lane;
  if (slot != 0 || lane >= matrix_rows || row >= hidden) return;
  float total = 0;
  for (int j = 0; j < int(slots); ++j) total += partial[simdgroup + j][lane];
  out[group.y * hidden + row] = T(total);
}

/// Rows of a matrix in 8-bit blocks, decoded: a thread for four columns (x) of each token (y). A token outside of [0, rows)
/// gives no numbers.
///
/// values   [rows, columns], scales [rows, columns / 32]
/// out      [tokens, columns]
template <typename T>
kernel void q8_rows(device const char4* values [[buffer(0)]], device const half* scales [[buffer(1)]],
                    device const long* tokens [[buffer(2)]], device T* out [[buffer(3)]],
                    constant long& rows [[buffer(4)]], constant long& columns [[buffer(5)]],
                    uint2 place [[thread_position_in_grid]]) {
  const long token = tokens[place.y];
  float4 four = float4(NAN);
  if (token >= 0 && token < rows) {
    const long at = token * (columns / 4) + place.x;
    four = float4(values[at]) * float(scales[at / 8]);
  }
  *(device vec<T, 4>*)(out + place.y * columns + 4 * place.x) = vec<T, 4>(four);
}

#define LINEAR_VECTOR(T, type)                                         \
  KERNEL_AS("linear_vector_mxfp4_" type, linear_vector, T, Mxfp4Rows) \
  KERNEL_AS("linear_vector_q8_" type, linear_vector, T, Q8Rows)

LINEAR_VECTOR(float, "float")
LINEAR_VECTOR(half, "half")
#if __METAL_VERSION__ >= 310
LINEAR_VECTOR(bfloat, "bfloat")
#endif
KERNELS(q8_rows)
KERNELS(gate_up_vector)
KERNELS(down_vector)
