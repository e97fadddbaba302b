// What the attention kernels share. The query heads that read one key head are taken together: row r of a key head is
// query r / group of its head r % group. A simdgroup computes strips of 8 rows (or 8 keys) by 32 keys (or rows); what
// it multiplies them by lies in tiles of up to 32 rows in threadgroup memory, filled with zeros at the edges.

constant constexpr int tile_rows = 32;
constant constexpr int strip_stride = tile_rows + 4;  // of floats: the lanes of a simdgroup then touch different banks
constant constexpr float log2_e = 1.44269504089f;
constant constexpr float ln_2 = 0.69314718056f;
constant constexpr float lowest_float = -3.402823466e38f;

/// Rows are copied in pieces of 16 bytes, and one piece more a row spreads them over the banks.
template <typename T>
constexpr int piece_size() {
  return 16 / int(sizeof(T));
}
template <typename T, int W>
constexpr int tile_pieces() {
  return W / piece_size<T>() + 1;
}
template <typename T, int W>
constexpr int tile_stride() {
  return tile_pieces<T, W>() * piece_size<T>();
}

/// Where the rows of a tensor begin.
struct KeyRows {
  long token_stride;
  long at(int row) const { return row * token_stride; }
};
struct QueryRows {
  int group;
  long head_stride, token_stride;
  long at(int row) const { return (row % group) * head_stride + (row / group) * token_stride; }
};

/// The keys that a query may see: positions first to last, of its own document where there are documents.
struct Sight {
  int first, last;
  bool in_documents;
  long document;
};

inline Sight sight_of(int position, long window, bool in_documents, device const long* documents) {
  Sight sight;
  sight.first = window > 0 ? max(position - int(window) + 1, 0) : 0;
  sight.last = position;
  sight.in_documents = in_documents;
  sight.document = in_documents && position >= 0 ? documents[position] : 0;
  return sight;
}

inline bool sees(Sight sight, int key, device const long* documents) {
  if (key < sight.first || key > sight.last) return false;
  return !sight.in_documents || documents[key] == sight.document;
}

/// Smallest and largest document number at positions first to last: blocks that lie apart need no computing.
struct DocumentRange {
  long least, most;
};

inline DocumentRange documents_at(int first, int last, device const long* documents) {
  DocumentRange range;
  range.least = range.most = documents[first];
  for (int i = first + 1; i <= last; ++i) {
    const long document = documents[i];
    if (document < range.least) range.least = document;
    if (document > range.most) range.most = document;
  }
  return range;
}

/// Whether a position that a lane of the simdgroup brings has a document within the range.
inline bool any_within(DocumentRange range, int position, int end, device const long* documents) {
  bool within = false;
  if (position < end) {
    const long document = documents[position];
    within = document >= range.least && document <= range.most;
  }
  return simd_any(within);
}

/// tile [ROWS, W] = rows [first, first + ROWS) of data; zero from row `end` and from column `width` on.
template <typename T, int W, int ROWS, int THREADS, typename Rows>
inline void load_tile(threadgroup uint4* tile, device const T* data, Rows rows, int first, int end, int width,
                      uint thread_index) {
  constexpr int pieces = W / piece_size<T>();
  for (int i = int(thread_index); i < ROWS * pieces; i += THREADS) {
    const int row = i / pieces, piece = i % pieces;
    uint4 values = uint4(0);
    if (first + row < end && piece * piece_size<T>() < width) {
      values = *(device const uint4*)(data + rows.at(first + row) + piece * piece_size<T>());
    }
    tile[row * tile_pieces<T, W>() + piece] = values;
  }
}

/// The strip of a simdgroup that it multiplies again and again: rows [8, W] of a tile, in registers.
template <typename T, int W>
inline void load_strip(thread simdgroup_matrix<T, 8, 8> (&rows)[W / 8], threadgroup const uint4* tile, int first_row) {
  threadgroup const T* from = (threadgroup const T*)tile + first_row * tile_stride<T, W>();
#pragma unroll
  for (int d = 0; d < W / 8; ++d) simdgroup_load(rows[d], from + 8 * d, tile_stride<T, W>());
}

template <int N>
inline void set_zero(thread simdgroup_matrix<float, 8, 8> (&sums)[N]) {
#pragma unroll
  for (int d = 0; d < N; ++d) sums[d] = make_filled_simdgroup_matrix<float, 8, 8>(0.0f);
}

/// strip [8, ROWS] = rows [8, W] tile^T
template <typename T, int W, int ROWS>
inline void multiply_transposed(threadgroup float* strip, thread simdgroup_matrix<T, 8, 8> (&rows)[W / 8],
                                threadgroup const uint4* tile, int width) {
  for (int j = 0; j < ROWS; j += 8) {
    threadgroup const T* from = (threadgroup const T*)tile + j * tile_stride<T, W>();
    simdgroup_matrix<float, 8, 8> sum = make_filled_simdgroup_matrix<float, 8, 8>(0.0f);
#pragma unroll
    for (int d = 0; d < W / 8; ++d) {
      if (8 * d < width) {
        simdgroup_matrix<T, 8, 8> columns;
        simdgroup_load(columns, from + 8 * d, tile_stride<T, W>(), ulong2(0, 0), true);
        simdgroup_multiply_accumulate(sum, rows[d], columns, sum);
      }
    }
    simdgroup_store(sum, strip + j, strip_stride);
  }
}

/// sums [8, W] += strip [8, ROWS] tile [ROWS, W]
template <typename T, int W, int ROWS>
inline void multiply_add(thread simdgroup_matrix<float, 8, 8> (&sums)[W / 8], threadgroup const float* strip,
                         threadgroup const uint4* tile, int width) {
  for (int j = 0; j < ROWS; j += 8) {
    threadgroup const T* from = (threadgroup const T*)tile + j * tile_stride<T, W>();
    simdgroup_matrix<float, 8, 8> weights;
    simdgroup_load(weights, strip + j, strip_stride);
#pragma unroll
    for (int d = 0; d < W / 8; ++d) {
      if (8 * d < width) {
        simdgroup_matrix<T, 8, 8> values;
        simdgroup_load(values, from + 8 * d, tile_stride<T, W>());
        simdgroup_multiply_accumulate(sums[d], weights, values, sums[d]);
      }
    }
  }
}

/// Rows [first, first + 8) of out = sums, each row times the factor of the four lanes it belongs to in strips.
template <typename T, int W, typename Rows>
inline void store_rows(device T* out, Rows rows, int first, int end, int width,
                       thread simdgroup_matrix<float, 8, 8> (&sums)[W / 8], float factor, threadgroup float* strip,
                       uint lane) {
#pragma unroll
  for (int part = 0; part < W / 32; ++part) {
    simdgroup_barrier(mem_flags::mem_threadgroup);
#pragma unroll
    for (int j = 0; j < 4; ++j) simdgroup_store(sums[4 * part + j], strip + 8 * j, strip_stride);
    simdgroup_barrier(mem_flags::mem_threadgroup);
    const int column = 32 * part + int(lane);
    for (int i = 0; i < 8; ++i) {
      const float result = strip[i * strip_stride + int(lane)] * simd_shuffle(factor, ushort(4 * i));
      if (first + i < end && column < width) out[rows.at(first + i) + column] = T(result);
    }
  }
}
