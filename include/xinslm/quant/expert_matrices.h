#pragma once
#include <ATen/core/Tensor.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "xinslm/quant/packed_tensor.h"

namespace xinslm {

/// One MXFP4 matrix for each expert. On the processor products read an expert as the file's map holds it until it has
/// been used a few times, and then bring it into the layout of the products, in large pages: a model opens at once,
/// and the first tokens do not wait for copies that may never pay. What a file's map holds of an expert is given back
/// when it has been laid out. Other devices get the layout of checkpoints, all of it at once, and what a file's map
/// held is given back then.
class ExpertMatrices {
 public:
  /// @param source  [E, rows, in], any layout, any device
  /// @param device  where products are computed
  /// @throws Error(data) when a scale is 255 (NaN): the products do not look for it
  explicit ExpertMatrices(const c10::intrusive_ptr<Mxfp4Tensor>& source, at::Device device = at::kCPU);

  const std::vector<int64_t>& sizes() const { return source_->sizes(); }
  /// Bytes of one form of the matrices.
  int64_t bytes() const { return source_->bytes(); }
  /// The exact values, on the device: for products of other devices than the processor, and for gradients.
  const Mxfp4Tensor& source() const { return *source_; }

  /// In layout rows16, where the device is the processor; only experts that are ready() hold their values.
  const Mxfp4Tensor& rows16() const { return *rows16_; }
  bool ready(int64_t expert) const { return ready_[static_cast<size_t>(expert)].load(std::memory_order_acquire); }
  /// Whether an expert has been used so often that laying it out pays; false once it is ready().
  bool due(int64_t expert) const;
  void count_use(int64_t expert) { uses_[static_cast<size_t>(expert)].fetch_add(1, std::memory_order_relaxed); }
  /// Lays an expert out on all threads. May be called at the same time by several.
  void prepare(int64_t expert);

  /// The same by hand, for threads that work as a team: groups [begin, end) of groups() each, then, when all are
  /// through, set_ready() by one of them.
  int64_t groups() const { return groups_; }
  void lay_out(int64_t expert, int64_t begin, int64_t end);
  void set_ready(int64_t expert);

 private:
  c10::intrusive_ptr<Mxfp4Tensor> source_, rows16_;
  int64_t groups_;  // of 16 rows, of one expert
  std::vector<std::atomic<bool>> ready_;
  std::vector<std::atomic<int>> uses_;  // by which an expert becomes due
  std::mutex preparing_;
};

}  // namespace xinslm
