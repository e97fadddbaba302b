// Products of many rows with matrices. A threadgroup of four simdgroups makes a tile of the result, 32 rows by 64
// columns, each simdgroup 16 by 32 of it, from 32 terms of the sums at a time in threadgroup memory.
//
// Threadgroups follow one another down the rows of the result first: so those at work together share columns of the
// matrix, which is read once, while the rows, far smaller, stay in the caches.
//
// Rows may belong to experts: then they are sorted by expert ("places", see moe.metal), and a table says which expert's
// rows each tile has. Each expert has a matrix; the matrices follow one another.
#include "packed_blocks.metal.h"
#include "swiglu.metal.h"

constant constexpr int tile_rows = 32, tile_columns = 64, tile_terms = 32, tile_threads = 128;

/// Values a row of `width` takes up in threadgroup memory: rows start in different banks, at a multiple of 16 bytes.
template <typename T>
constexpr int padded(int width) {
  return width + 16 / int(sizeof(T));
}

/// float4s of threadgroup memory for both sides' tiles, or for the sums of a tile afterwards.
template <typename T>
constexpr int tile_memory() {
  return (tile_rows * padded<T>(tile_terms) + tile_columns * padded<T>(tile_terms)) * int(sizeof(T)) >
                 tile_rows * tile_columns * 4
             ? (tile_rows * padded<T>(tile_terms) + tile_columns * padded<T>(tile_terms)) * int(sizeof(T)) / 16
             : tile_rows * tile_columns / 4;
}

/// Copies values [column, column + count) of a row; zeros from `end` on. `vectors`: rows begin at multiples of four.
template <int count, typename T>
inline void copy_values(device const T* row, long column, long end, bool vectors, threadgroup T* to) {
  for (int i = 0; i < count; i += 4) {
    vec<T, 4> values = vec<T, 4>(T(0.0f));
    if (vectors) {
      if (column + i < end) values = *(device const vec<T, 4>*)(row + column + i);
    } else {
      for (int j = 0; j < 4; ++j) {
        if (column + i + j < end) values[j] = row[column + i + j];
      }
    }
    *(threadgroup vec<T, 4>*)(to + i) = values;
  }
}

/// Rows of activations: that of the token whose choice has the place, or the row of the place itself where k is 0.
template <typename T>
struct Rows {
  device const T* values;
  device const int* choices;
  int k;
  long columns;

  device const T* at(int place) const { return values + long(k > 0 ? choices[place] / k : place) * columns; }
  bool vectors() const { return columns % 4 == 0; }
};

/// A matrix of plain numbers. All kinds of matrices copy sixteen values of a row, zeros for what is outside.
template <typename T>
struct DenseMatrix {
  device const T* values;
  long rows, columns;

  DenseMatrix(device const uchar* values, device const uchar*, long number, long rows, long columns)
      : values((device const T*)values + number * rows * columns), rows(rows), columns(columns) {}

  void copy(long row, long column, threadgroup T* to) const {
    const bool inside = row < rows;
    copy_values<16>(values + (inside ? row * columns : 0), column, inside ? columns : 0, columns % 4 == 0, to);
  }
};

/// Sixteen equal to zero.
template <typename T>
inline void set_zero(threadgroup T* to) {
  for (int i = 0; i < 16; i += 4) *(threadgroup vec<T, 4>*)(to + i) = vec<T, 4>(T(0.0f));
}

/// The values of four codes of FP4.
inline float4 fp4_values4(uint codes) {
  return float4(fp4_values[codes & 15], fp4_values[codes >> 4 & 15], fp4_values[codes >> 8 & 15],
                fp4_values[codes >> 12 & 15]);
}

/// A matrix in MXFP4, [rows, columns / 32, 16] with scales [rows, columns / 32].
template <typename T>
struct Mxfp4Matrix {
  device const uint2* values;
  device const uchar* scales;
  long rows, columns;

  Mxfp4Matrix(device const uchar* values, device const uchar* scales, long number, long rows, long columns)
      : values((device const uint2*)values + number * rows * columns / 16),
        scales(scales + number * rows * columns / 32),
        rows(rows),
        columns(columns) {}

  void copy(long row, long column, threadgroup T* to) const {
    if (row >= rows || column >= columns) return set_zero(to);
    const ulong place = ulong(row * columns + column);
    const uint2 codes = values[place / 16];
    const float scale = e8m0_value(scales[place / 32]);
    for (int i = 0; i < 4; ++i) {
      const uint four = (i < 2 ? codes.x : codes.y) >> (16 * (i % 2));
      *(threadgroup vec<T, 4>*)(to + 4 * i) = vec<T, 4>(fp4_values4(four) * scale);
    }
  }
};

/// A matrix in 8-bit blocks, [rows, columns] with scales [rows, columns / 32].
template <typename T>
struct Q8Matrix {
  device const char4* values;
  device const half* scales;
  long rows, columns;

  Q8Matrix(device const uchar* values, device const uchar* scales, long number, long rows, long columns)
      : values((device const char4*)values + number * rows * columns / 4),
        scales((device const half*)scales + number * rows * columns / 32),
        rows(rows),
        columns(columns) {}

  void copy(long row, long column, threadgroup T* to) const {
    if (row >= rows || column >= columns) return set_zero(to);
    const ulong place = ulong(row * columns + column);
    const float scale = float(scales[place / 32]);
    for (int i = 0; i < 4; ++i) {
      *(threadgroup vec<T, 4>*)(to + 4 * i) = vec<T, 4>(float4(values[place / 4 + i]) * scale);
    }
  }
};

/// A simdgroup's part of a tile of sums.
struct Sums {
  simdgroup_matrix<float, 8, 8> of[2][4];

  Sums() {
    #pragma unroll
    for (int i = 0; i < 2; ++i) {
      #pragma unroll
      for (int j = 0; j < 4; ++j) of[i][j] = make_filled_simdgroup_matrix<float, 8, 8>(0.0f);
    }
  }

  /// Adds left [rows, terms] * right [terms, columns]. left_transposed: it lies as [terms, rows]; right_transposed: as
  /// [columns, terms].
  template <bool left_transposed, bool right_transposed, typename T>
  void add(threadgroup const T* left, threadgroup const T* right, uint simdgroup) {
    constexpr int left_stride = padded<T>(left_transposed ? tile_rows : tile_terms);
    constexpr int right_stride = padded<T>(right_transposed ? tile_terms : tile_columns);
    const int row = int(simdgroup % 2) * 16, column = int(simdgroup / 2) * 32;
    #pragma unroll
    for (int term = 0; term < tile_terms; term += 8) {
      simdgroup_matrix<T, 8, 8> a[2], b[4];
      #pragma unroll
      for (int i = 0; i < 2; ++i) {
        const int at = left_transposed ? term * left_stride + row + 8 * i : (row + 8 * i) * left_stride + term;
        simdgroup_load(a[i], left + at, left_stride, ulong2(0, 0), left_transposed);
      }
      #pragma unroll
      for (int j = 0; j < 4; ++j) {
        const int at = right_transposed ? (column + 8 * j) * right_stride + term : term * right_stride + column + 8 * j;
        simdgroup_load(b[j], right + at, right_stride, ulong2(0, 0), right_transposed);
      }
      #pragma unroll
      for (int i = 0; i < 2; ++i) {
        #pragma unroll
        for (int j = 0; j < 4; ++j) simdgroup_multiply_accumulate(of[i][j], a[i], b[j], of[i][j]);
      }
    }
  }

  /// Writes the tile, [32, 64].
  void store(threadgroup float* to, uint simdgroup) const {
    const int row = int(simdgroup % 2) * 16, column = int(simdgroup / 2) * 32;
    #pragma unroll
    for (int i = 0; i < 2; ++i) {
      #pragma unroll
      for (int j = 0; j < 4; ++j) {
        simdgroup_store(of[i][j], to + (row + 8 * i) * tile_columns + column + 8 * j, tile_columns);
      }
    }
  }
};

/// Rows [first, end) of what belongs to an expert.
struct Tile {
  int expert, first, end;
};

inline Tile find_tile(device const int4* tiles, bool grouped, int number, int rows) {
  if (!grouped) return Tile{0, number * tile_rows, min(rows, (number + 1) * tile_rows)};
  const int4 entry = tiles[number];
  return Tile{entry.x, entry.y, entry.z};
}

/// Leaves the sums of a tile, [32, 64] float, in `memory`: rows of x times columns [first_column, ...) of the matrix,
/// or of the transposed matrix.
template <bool transposed, typename T, typename Matrix>
inline void make_tile(Rows<T> x, Matrix matrix, Tile tile, long first_column, threadgroup float4* memory, uint thread_index,
                      uint simdgroup) {
  threadgroup T* left = (threadgroup T*)memory;
  threadgroup T* right = left + tile_rows * padded<T>(tile_terms);
  const int row = int(thread_index) / 4, offset = int(thread_index) % 4 * 8;
  const bool inside = tile.first + row < tile.end;
  device const T* from = x.at(inside ? tile.first + row : tile.first);
  threadgroup T* left_to = left + row * padded<T>(tile_terms) + offset;
  Sums sums;
  for (long term = 0; term < x.columns; term += tile_terms) {
    copy_values<8>(from, term + offset, inside ? x.columns : 0, x.vectors(), left_to);
    if (transposed) {
      const int at = int(thread_index) / 2, part = int(thread_index) % 2 * 16;
      matrix.copy(first_column + at, term + part, right + at * padded<T>(tile_terms) + part);
    } else {
      const int part = int(thread_index) % 4 * 16;
      matrix.copy(term + row, first_column + part, right + row * padded<T>(tile_columns) + part);
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    sums.template add<false, transposed>(left, right, simdgroup);
    threadgroup_barrier(mem_flags::mem_threadgroup);
  }
  sums.store((threadgroup float*)memory, simdgroup);
  threadgroup_barrier(mem_flags::mem_threadgroup);
}

/// out = x * matrix (+ bias of the expert), or x * matrix^T.
///
/// x        [tokens or rows, terms]; see Rows for choices and k
/// tiles    see sort_choices; unless grouped there is one matrix, and tile i begins at row 32 i
/// values, scales  [experts, terms, columns], or [experts, columns, terms] when transposed
/// bias     [experts, columns]
/// out      [rows, columns]
template <typename T, typename Matrix, bool transposed>
kernel void product(device const T* x [[buffer(0)]], device const int* choices [[buffer(1)]],
                    device const int4* tiles [[buffer(2)]], device const uchar* values [[buffer(3)]],
                    device const uchar* scales [[buffer(4)]], device const float* bias [[buffer(5)]],
                    device T* out [[buffer(6)]], constant long& k [[buffer(7)]], constant long& grouped [[buffer(8)]],
                    constant long& has_bias [[buffer(9)]], constant long& rows [[buffer(10)]],
                    constant long& columns [[buffer(11)]], constant long& terms [[buffer(12)]],
                    uint3 group [[threadgroup_position_in_grid]], uint thread_index [[thread_index_in_threadgroup]],
                    uint simdgroup [[simdgroup_index_in_threadgroup]]) {
  threadgroup float4 memory[tile_memory<T>()];
  const Tile tile = find_tile(tiles, grouped != 0, int(group.x), int(rows));
  if (tile.first >= tile.end) return;
  const long first_column = long(group.y) * tile_columns;
  const Matrix matrix(values, scales, tile.expert, transposed ? columns : terms, transposed ? terms : columns);
  make_tile<transposed>(Rows<T>{x, choices, int(k), terms}, matrix, tile, first_column, memory, thread_index, simdgroup);
  threadgroup const float* sums = (threadgroup const float*)memory;
  for (int i = int(thread_index); i < tile_rows * tile_columns; i += tile_threads) {
    const int row = tile.first + i / tile_columns;
    const long column = first_column + i % tile_columns;
    if (row >= tile.end || column >= columns) continue;
    const float shift = has_bias != 0 ? bias[tile.expert * columns + column] : 0.0f;
    out[row * columns + column] = T(sums[i] + shift);
  }
}

/// act = swiglu(x * matrix + bias): the experts' first product. With keep, gate_up gets what swiglu was taken of.
///
/// values, scales  as for product, columns = 2 I interleaved
/// act      [places, I], gate_up [places, 2 I]
template <typename T, typename Matrix, bool transposed>
kernel void gate_up(device const T* x [[buffer(0)]], device const int* choices [[buffer(1)]],
                    device const int4* tiles [[buffer(2)]], device const uchar* values [[buffer(3)]],
                    device const uchar* scales [[buffer(4)]], device const float* bias [[buffer(5)]],
                    device T* act [[buffer(6)]], device T* kept [[buffer(7)]], constant long& k [[buffer(8)]],
                    constant long& has_bias [[buffer(9)]], constant long& keep [[buffer(10)]],
                    constant long& columns [[buffer(11)]], constant long& terms [[buffer(12)]],
                    constant long& limit_bits [[buffer(13)]], uint3 group [[threadgroup_position_in_grid]],
                    uint thread_index [[thread_index_in_threadgroup]], uint simdgroup [[simdgroup_index_in_threadgroup]]) {
  threadgroup float4 memory[tile_memory<T>()];
  const Tile tile = find_tile(tiles, true, int(group.x), 0);
  if (tile.first >= tile.end) return;
  const long first_column = long(group.y) * tile_columns;
  const Matrix matrix(values, scales, tile.expert, transposed ? columns : terms, transposed ? terms : columns);
  make_tile<transposed>(Rows<T>{x, choices, int(k), terms}, matrix, tile, first_column, memory, thread_index, simdgroup);
  threadgroup const float2* sums = (threadgroup const float2*)memory;
  const float limit = real(limit_bits);
  for (int i = int(thread_index); i < tile_rows * tile_columns / 2; i += tile_threads) {
    const int row = tile.first + i / (tile_columns / 2);
    const long column = first_column / 2 + i % (tile_columns / 2);
    if (row >= tile.end || column >= columns / 2) continue;
    float2 pair = sums[i];
    if (has_bias != 0) pair += *(device const float2*)(bias + tile.expert * columns + 2 * column);
    if (keep != 0) *(device vec<T, 2>*)(kept + row * columns + 2 * column) = vec<T, 2>(pair);
    act[row * (columns / 2) + column] = T(swiglu_value(pair.x, pair.y, limit));
  }
}

/// out[expert] = left[places of the expert]^T * right[places of the expert]: gradients of experts' matrices. Zeros for
/// an expert without places.
///
/// left, right  [.., rows], [.., columns]; see Rows for choices and the two k
/// begin        [experts + 1] first place of each expert
/// out          [experts, rows, columns]
template <typename T>
kernel void outer_product(device const T* left [[buffer(0)]], device const T* right [[buffer(1)]],
                          device const int* choices [[buffer(2)]], device const int* begin [[buffer(3)]],
                          device T* out [[buffer(4)]], constant long& left_k [[buffer(5)]],
                          constant long& right_k [[buffer(6)]], constant long& rows [[buffer(7)]],
                          constant long& columns [[buffer(8)]], uint3 group [[threadgroup_position_in_grid]],
                          uint thread_index [[thread_index_in_threadgroup]],
                          uint simdgroup [[simdgroup_index_in_threadgroup]]) {
  threadgroup float4 memory[tile_memory<T>()];
  threadgroup T* left_tile = (threadgroup T*)memory;
  threadgroup T* right_tile = left_tile + tile_terms * padded<T>(tile_rows);
  const int expert = int(group.z), end = begin[expert + 1];
  const long first_row = long(group.x) * tile_rows, first_column = long(group.y) * tile_columns;
  const Rows<T> of_left{left, choices, int(left_k), rows}, of_right{right, choices, int(right_k), columns};
  const int term = int(thread_index) / 4, left_part = int(thread_index) % 4 * 8, right_part = int(thread_index) % 4 * 16;
  Sums sums;
  for (int first = begin[expert]; first < end; first += tile_terms) {
    const bool inside = first + term < end;
    const int place = inside ? first + term : first;
    copy_values<8>(of_left.at(place), first_row + left_part, inside ? rows : 0, of_left.vectors(),
                   left_tile + term * padded<T>(tile_rows) + left_part);
    copy_values<16>(of_right.at(place), first_column + right_part, inside ? columns : 0, of_right.vectors(),
                    right_tile + term * padded<T>(tile_columns) + right_part);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    sums.template add<true, false>(left_tile, right_tile, simdgroup);
    threadgroup_barrier(mem_flags::mem_threadgroup);
  }
  threadgroup float* tile = (threadgroup float*)memory;
  sums.store(tile, simdgroup);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  for (int i = int(thread_index); i < tile_rows * tile_columns; i += tile_threads) {
    const long row = first_row + i / tile_columns, column = first_column + i % tile_columns;
    if (row < rows && column < columns) out[(expert * rows + row) * columns + column] = T(tile[i]);
  }
}

// The kernels product_KIND_TYPE, x times matrix, product_transposed_KIND_TYPE, x times transposed matrix, and
// gate_up_KIND_TYPE: plain matrices of experts lie as [terms, columns], packed ones as [columns, terms].
#define PRODUCT(T, type)                                                                \
  KERNEL_AS("product_dense_" type, product, T, DenseMatrix<T>, false)                   \
  KERNEL_AS("product_mxfp4_" type, product, T, Mxfp4Matrix<T>, false)                   \
  KERNEL_AS("product_q8_" type, product, T, Q8Matrix<T>, false)                         \
  KERNEL_AS("product_transposed_dense_" type, product, T, DenseMatrix<T>, true)         \
  KERNEL_AS("product_transposed_mxfp4_" type, product, T, Mxfp4Matrix<T>, true)         \
  KERNEL_AS("product_transposed_q8_" type, product, T, Q8Matrix<T>, true)               \
  KERNEL_AS("gate_up_dense_" type, gate_up, T, DenseMatrix<T>, false)                   \
  KERNEL_AS("gate_up_mxfp4_" type, gate_up, T, Mxfp4Matrix<T>, true)

PRODUCT(float, "float")
PRODUCT(half, "half")
#if __METAL_VERSION__ >= 310
PRODUCT(bfloat, "bfloat")
#endif
KERNELS(outer_product)
