#pragma once
#include "ops/cpu/attention_kernels.h"
#include "ops/cpu/isa/tile.h"

namespace xinslm::XINSLM_ISA {

template <class T>
XINSLM_INLINE T* row_of(const HeadsArray& array, int64_t batch, int64_t head, int64_t token) {
  return static_cast<T*>(array.data) + batch * array.batch_stride + head * array.head_stride +
         token * array.token_stride;
}

/// Position of query 0.
XINSLM_INLINE int64_t first_position(const AttentionProblem& p) {
  return p.keys - p.queries;
}

XINSLM_INLINE const int32_t* documents_of(const AttentionProblem& p, int64_t batch) {
  return p.documents ? p.documents + batch * p.document_stride() : nullptr;
}

/// False only when no key in [key, key + keys) has the document of a query position in [position, position + queries).
inline bool may_share_document(const int32_t* documents, int64_t key, int64_t keys, int64_t position, int64_t queries) {
  if (!documents) return true;
  int32_t least = documents[position], most = least;
  for (int64_t i = 1; i < queries; ++i) {
    least = smaller(least, documents[position + i]);
    most = larger(most, documents[position + i]);
  }
  for (int64_t i = 0; i < keys; ++i) {
    if (documents[key + i] >= least && documents[key + i] <= most) return true;
  }
  return false;
}

/// log(e^a + e^b)
XINSLM_INLINE float log_of_sum(float a, float b) {
  return larger(a, b) + __builtin_log1pf(__builtin_expf(-__builtin_fabsf(a - b)));
}

/// In attention_backward.cpp.
template <class Storage>
void attention_backward(const AttentionProblem& p, int64_t task, float* scratch);

XINSLM_INLINE IntVec load_int(const int32_t* p) {
  IntVec v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}

}  // namespace xinslm::XINSLM_ISA
