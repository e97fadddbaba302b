// Right and wrong kernels for the tests of the simulator itself.

kernel void copies(device const float* x [[buffer(0)]], device float* y [[buffer(1)]],
                   uint i [[thread_position_in_grid]]) {
  y[i] = x[i];
}

kernel void reads_past_end(device const float* x [[buffer(0)]], device float* y [[buffer(1)]],
                           uint i [[thread_position_in_grid]]) {
  y[i] = x[i + 1];
}

kernel void writes_before_start(device float* y [[buffer(0)]], uint i [[thread_position_in_grid]]) {
  y[long(i) - 1] = 1;
}

kernel void indexes_own_array(device float* y [[buffer(0)]], constant long& at [[buffer(1)]],
                              uint i [[thread_position_in_grid]]) {
  float own[4] = {1, 2, 3, 4};
  own[at] = 5;
  y[i] = own[0] + own[at];
}

kernel void reads_crooked(device const float* x [[buffer(0)]], device float* y [[buffer(1)]],
                          uint i [[thread_position_in_grid]]) {
  y[i] = ((device const float4*)(x + 1))->x;
}

/// Each group turns its part round through threadgroup memory.
template <bool waits>
kernel void turn_round(device const float* x [[buffer(0)]], device float* y [[buffer(1)]],
                       uint i [[thread_position_in_grid]], uint own [[thread_index_in_threadgroup]],
                       uint threads [[threads_per_threadgroup]], uint group [[threadgroup_position_in_grid]],
                       uint size [[dispatch_threads_per_threadgroup]]) {
  threadgroup float part[256];
  part[own] = x[i];
  if (waits) threadgroup_barrier(mem_flags::mem_threadgroup);
  y[group * size + own] = part[threads - 1 - own];
}
KERNEL_AS("turn_round", turn_round, true)
KERNEL_AS("turn_round_at_once", turn_round, false)

/// Reads first, then writes: the second round's writes meet the first round's reads unless a barrier is between.
template <bool waits>
kernel void shift_twice(device float* y [[buffer(0)]], uint own [[thread_index_in_threadgroup]],
                        uint threads [[threads_per_threadgroup]]) {
  threadgroup float part[256];
  for (int round = 0; round < 2; ++round) {
    part[own] = float(own + round);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    y[own] = part[(own + 1) % threads];
    if (waits) threadgroup_barrier(mem_flags::mem_threadgroup);
  }
}
KERNEL_AS("shift_twice", shift_twice, true)
KERNEL_AS("shift_twice_at_once", shift_twice, false)

/// simdgroup_barrier is enough within a simdgroup and not beyond.
kernel void neighbour_of_simdgroup(device float* y [[buffer(0)]], constant long& step [[buffer(1)]],
                                   uint own [[thread_index_in_threadgroup]], uint threads [[threads_per_threadgroup]]) {
  threadgroup float part[256];
  part[own] = float(own);
  simdgroup_barrier(mem_flags::mem_threadgroup);
  y[own] = part[(own ^ step) % threads];
}

kernel void wrong_flags(device float* y [[buffer(0)]], uint own [[thread_index_in_threadgroup]],
                        uint threads [[threads_per_threadgroup]]) {
  threadgroup float part[256];
  part[own] = float(own);
  threadgroup_barrier(mem_flags::mem_device);
  y[own] = part[threads - 1 - own];
}

kernel void runs_over_array(device float* y [[buffer(0)]], uint own [[thread_index_in_threadgroup]]) {
  threadgroup float first[8];
  threadgroup float second[8];
  threadgroup float* end = first + 8;
  second[own] = 1;
  y[own] = end[own];
}

kernel void reads_unwritten(device float* y [[buffer(0)]], uint own [[thread_index_in_threadgroup]]) {
  threadgroup float part[32];
  if (own < 31) part[own] = 1;
  threadgroup_barrier(mem_flags::mem_threadgroup);
  y[own] = part[own];
}

kernel void needs_too_much(device float* y [[buffer(0)]], uint own [[thread_index_in_threadgroup]]) {
  threadgroup float part[8193];
  part[own] = 1;
  y[own] = part[own];
}

kernel void leaves_early(device float* y [[buffer(0)]], uint own [[thread_index_in_threadgroup]]) {
  if (own == 5) return;
  threadgroup_barrier(mem_flags::mem_threadgroup);
  y[own] = 1;
}

kernel void writes_same_place(device float* y [[buffer(0)]], uint i [[thread_position_in_grid]]) {
  y[i / 2] = float(i);
}

kernel void diverges(device float* y [[buffer(0)]], uint own [[thread_index_in_threadgroup]]) {
  y[own] = own < 7 ? simd_sum(1.0f) : simd_max(2.0f);
}

/// y: [11, 32], one simdgroup.
kernel void simdgroup_functions(device float* y [[buffer(0)]], uint lane [[thread_index_in_simdgroup]],
                                uint lanes [[threads_per_simdgroup]]) {
  const float x = float(lane) + 1;
  y[lane] = simd_sum(x);
  y[32 + lane] = simd_max(lane == 9 ? 100.0f : x);
  y[64 + lane] = simd_min(x);
  y[96 + lane] = simd_shuffle(x, ushort(31 - lane));
  y[128 + lane] = simd_shuffle_xor(x, ushort(1));
  y[160 + lane] = simd_shuffle_down(x, ushort(3));
  y[192 + lane] = simd_shuffle_up(x, ushort(3));
  y[224 + lane] = simd_broadcast(x, ushort(7));
  y[256 + lane] = simd_prefix_inclusive_sum(x);
  y[288 + lane] = simd_prefix_exclusive_sum(x);
  y[320 + lane] = float(lanes) + (simd_any(lane == 3) ? 0.5f : 0.0f) + (simd_all(lane == 3) ? 100.0f : 0.0f);
}

kernel void shuffles_with_nobody(device float* y [[buffer(0)]], uint lane [[thread_index_in_simdgroup]]) {
  y[lane] = simd_shuffle(1.0f, ushort(lane + 1));
}

/// d = a b + c, a given transposed: all [8, 8] with `stride` elements a row.
template <typename T>
kernel void multiply_matrices(device const T* a [[buffer(0)]], device const T* b [[buffer(1)]],
                              device const float* c [[buffer(2)]], device float* d [[buffer(3)]],
                              constant long& stride [[buffer(4)]], uint lane [[thread_index_in_simdgroup]]) {
  simdgroup_matrix<T, 8, 8> left, right;
  simdgroup_float8x8 sum, out;
  simdgroup_load(left, a, ulong(stride), ulong2(0, 0), true);
  simdgroup_load(right, b, ulong(stride));
  simdgroup_load(sum, c, ulong(stride));
  simdgroup_multiply_accumulate(out, left, right, sum);
  simdgroup_store(out, d, ulong(stride));
}
KERNELS(multiply_matrices)

/// Counts x modulo 4 in threadgroup memory, then over all groups.
kernel void count_with_atomics(device const int* x [[buffer(0)]], device atomic_int* counts [[buffer(1)]],
                               uint i [[thread_position_in_grid]], uint own [[thread_index_in_threadgroup]]) {
  threadgroup atomic_int part[4];
  if (own < 4) atomic_store_explicit(&part[own], 0, memory_order_relaxed);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  atomic_fetch_add_explicit(&part[x[i] % 4], 1, memory_order_relaxed);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  if (own < 4) {
    atomic_fetch_add_explicit(&counts[own], atomic_load_explicit(&part[own], memory_order_relaxed), memory_order_relaxed);
  }
}

kernel void place_in_grid(device uint* y [[buffer(0)]], uint3 at [[thread_position_in_grid]],
                          uint3 grid [[threads_per_grid]], uint3 group [[threadgroup_position_in_grid]],
                          uint3 size [[threads_per_threadgroup]], uint3 full [[dispatch_threads_per_threadgroup]],
                          uint3 own [[thread_position_in_threadgroup]]) {
  const uint3 again = group * full + own;
  const bool is_right = again.x == at.x && again.y == at.y && again.z == at.z && own.x < size.x && own.y < size.y;
  y[(at.z * grid.y + at.y) * grid.x + at.x] = is_right ? 1 : 0;
}

kernel void real_and_rounded(device float* y [[buffer(0)]], constant long& bits [[buffer(1)]],
                             uint i [[thread_position_in_grid]]) {
  y[0] = real(bits);
  y[1] = float(bfloat(1.00390625f));  // half way between two bfloats: to the even one
  y[2] = float(bfloat(1.01171875f));
  y[3] = float(half(2049.0f));
  y[4] = as_type<float>(as_type<uint>(2.5f) ^ 0x80000000u);
  y[5] = float(as_type<uchar4>(0x04030201u).z);
}
