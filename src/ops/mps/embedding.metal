// Rows of a table, and the sums of their gradients in the order of the tokens: the same bits every time.

/// A thread for each element of y [tokens, width]. A token outside of the vocabulary gives no numbers: the host cannot be
/// told, and must not be led on.
template <typename T>
kernel void embedding_rows(device const T* weight [[buffer(0)]], device const long* tokens [[buffer(1)]],
                           device T* y [[buffer(2)]], constant long& vocabulary [[buffer(3)]], uint2 place [[thread_position_in_grid]],
                           uint2 grid [[threads_per_grid]]) {
  const long width = grid.x, token = tokens[place.y];
  const bool is_known = token >= 0 && token < vocabulary;
  y[long(place.y) * width + place.x] = is_known ? weight[token * width + place.x] : T(NAN);
}

/// A thread for each place: the next place with its token in `next`, -1 when there is none, and in `is_first` whether no
/// earlier one has it.
kernel void embedding_chains(device const long* tokens [[buffer(0)]], device int* next [[buffer(1)]],
                             device int* is_first [[buffer(2)]], constant long& count [[buffer(3)]],
                             uint i [[thread_position_in_grid]]) {
  const long token = tokens[i];
  long after = i + 1, before = long(i) - 1;
  while (after < count && tokens[after] != token) ++after;
  while (before >= 0 && tokens[before] != token) --before;
  next[i] = after < count ? int(after) : -1;
  is_first[i] = before < 0 ? 1 : 0;
}

/// A thread for each place and column; that of a token's first place sums its chain. grad_weight holds zeros before.
template <typename T>
kernel void embedding_backward(device const T* grad [[buffer(0)]], device const long* tokens [[buffer(1)]],
                               device const int* next [[buffer(2)]], device const int* is_first [[buffer(3)]],
                               device T* grad_weight [[buffer(4)]], constant long& vocabulary [[buffer(5)]], uint2 place [[thread_position_in_grid]],
                               uint2 grid [[threads_per_grid]]) {
  const long width = grid.x, token = tokens[place.y];
  if (is_first[place.y] == 0 || token < 0 || token >= vocabulary) return;
  float sum = 0;
  for (long i = place.y; i >= 0; i = next[i]) sum += float(grad[i * width + place.x]);
  grad_weight[token * width + place.x] = T(sum);
}

KERNELS(embedding_rows)
KERNELS(embedding_backward)
