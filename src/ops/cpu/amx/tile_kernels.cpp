#include "ops/cpu/tile_kernels.h"

#include "ops/cpu/amx/tile_product.h"

namespace xinslm::XINSLM_ISA {
namespace {

/// The eight tile registers of 16 rows of 64 bytes, this thread's while the object lives.
class AmxTiles {
 public:
  AmxTiles() {
    struct alignas(64) {
      uint8_t palette = 1, start_row = 0, reserved[14] = {};
      uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
      uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
    } shape;
    _tile_loadconfig(&shape);
  }
  ~AmxTiles() { _tile_release(); }
  AmxTiles(const AmxTiles&) = delete;
  AmxTiles& operator=(const AmxTiles&) = delete;

  /// sums = the products of 16 rows of x, `width` apart, or 32 if `second`, with `steps` blocks of a panel.
  void multiply(const uint16_t* x, int64_t width, bool second, const uint16_t* panel, int64_t steps,
                TileSums& sums) const {
    const int64_t row_bytes = width * 2, sums_bytes = tile_side * 4;
    const uint16_t* y = x + tile_side * width;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int64_t step = 0; step < steps; step += 2) {
      _tile_loadd(6, panel + step * panel_step, 64);
      _tile_loadd(4, x + step * block, row_bytes);
      _tile_dpbf16ps(0, 4, 6);
      if (second) {
        _tile_loadd(5, y + step * block, row_bytes);
        _tile_dpbf16ps(2, 5, 6);
      }
      if (step + 1 == steps) break;
      _tile_loadd(7, panel + (step + 1) * panel_step, 64);
      _tile_loadd(4, x + (step + 1) * block, row_bytes);
      _tile_dpbf16ps(1, 4, 7);
      if (second) {
        _tile_loadd(5, y + (step + 1) * block, row_bytes);
        _tile_dpbf16ps(3, 5, 7);
      }
    }
    _tile_stored(0, sums[0][0], sums_bytes);
    _tile_stored(1, sums[0][1], sums_bytes);
    _tile_stored(2, sums[1][0], sums_bytes);
    _tile_stored(3, sums[1][1], sums_bytes);
  }
};

}  // namespace

const TileKernels tile_kernels = {round_all, multiply_in_tiles<AmxTiles, Mxfp4Panel>,
                                  multiply_in_tiles<AmxTiles, Q8Panel>};

}  // namespace xinslm::XINSLM_ISA
