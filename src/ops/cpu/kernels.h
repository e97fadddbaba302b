#pragma once
#include <cstdint>

#if defined(XINSLM_ISA)
// Seen from a kernel: only its own instruction set's tables exist.
#define XINSLM_DECLARE_KERNELS(Table, name) \
  namespace XINSLM_ISA {                    \
  extern const Table name;                  \
  }
#else
#include "xinslm/core/cpu_features.h"
#if defined(__x86_64__)
#define XINSLM_DECLARE_KERNELS(Table, name) \
  namespace scalar {                        \
  extern const Table name;                  \
  }                                         \
  namespace avx2 {                          \
  extern const Table name;                  \
  }                                         \
  namespace avx512 {                        \
  extern const Table name;                  \
  }                                         \
  namespace avx512_bf16 {                   \
  extern const Table name;                  \
  }                                         \
  inline const Table& name() {              \
    switch (active_isa()) {                 \
      case Isa::avx2:                       \
        return avx2::name;                  \
      case Isa::avx512:                     \
        return avx512::name;                \
      case Isa::avx512_bf16:                \
      case Isa::amx: /* tile_kernels.h */   \
        return avx512_bf16::name;           \
      default:                              \
        return scalar::name;                \
    }                                       \
  }
#elif defined(__aarch64__)
#define XINSLM_DECLARE_KERNELS(Table, name) \
  namespace scalar {                        \
  extern const Table name;                  \
  }                                         \
  namespace neon_dotprod {                  \
  extern const Table name;                  \
  }                                         \
  namespace neon_i8mm {                     \
  extern const Table name;                  \
  }                                         \
  inline const Table& name() {              \
    switch (active_isa()) {                 \
      case Isa::neon_dotprod:               \
        return neon_dotprod::name;          \
      case Isa::neon_i8mm:                  \
        return neon_i8mm::name;             \
      default:                              \
        return scalar::name;                \
    }                                       \
  }
#else
#define XINSLM_DECLARE_KERNELS(Table, name) \
  namespace scalar {                        \
  extern const Table name;                  \
  }                                         \
  inline const Table& name() {              \
    return scalar::name;                    \
  }
#endif
#endif

namespace xinslm {

/// Element type of the arrays a kernel is given; selects the member of a kernel's pair of functions.
enum Element { element_float32 = 0, element_bfloat16 = 1 };

}  // namespace xinslm
