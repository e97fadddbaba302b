#pragma once
#include <cstdint>

#include "xinslm/core/cpu_features.h"

namespace xinslm {

/// Products of many rows of activations with packed weights of layout rows16 in a processor's matrix tiles. Both sides
/// are bfloat16: MXFP4 weights are exact in it, 8-bit ones and activations are rounded to 8 significant bits. Sums are
/// float32.
struct TileKernels {
  /// Fewer rows than this are left to PackedKernels.
  static constexpr int64_t least_rows = 9;
  /// Rows of x are read in wholes of this, whatever those beyond the last hold.
  static constexpr int64_t whole_rows = 16;

  /// rounded [size] = the nearest bfloat16 of x, ties to even; size is a multiple of 32.
  void (*round)(const float* x, int64_t size, uint16_t* rounded);

  /// out [rows, 16], its rows out_stride apart, = x [rows, blocks * 32] * weights^T; values and scales as in
  /// PackedKernels.
  void (*mxfp4)(const uint8_t* values, const uint8_t* scales, int64_t blocks, const uint16_t* x, int64_t rows,
                float* out, int64_t out_stride);
  void (*q8)(const uint8_t* values, const uint16_t* scales, int64_t blocks, const uint16_t* x, int64_t rows,
             float* out, int64_t out_stride);
};

#if defined(__x86_64__)
namespace amx {
extern const TileKernels tile_kernels;
}
#endif

/// Null where the instruction set in use has no tiles.
inline const TileKernels* tile_kernels() {
#if defined(__x86_64__)
  if (active_isa() == Isa::amx) return &amx::tile_kernels;
#endif
  return nullptr;
}

}  // namespace xinslm
