#pragma once
#include <ATen/core/Tensor.h>

#include <atomic>
#include <cstdint>
#include <mutex>
#include <optional>
#include <vector>

#include "xinslm/quant/laid_out_experts.h"
#include "xinslm/quant/packed_tensor.h"

namespace xinslm {

/// One MXFP4 matrix for each expert. On the processor products first read them as the file's map holds them, and once
/// they have been used often they are brought into the layout of the products, in large pages, from which twice as many
/// tokens a second are generated: so a model opens at once, and the first tokens do not wait for a copy that may never
/// pay. What a file's map held is given back then. Other devices get the layout of checkpoints at once.
class ExpertMatrices {
 public:
  /// @param source  [E, rows, in], any layout, any device
  /// @param device  where products are computed
  /// @throws Error(data) when a scale is 255 (NaN): the products do not look for it
  explicit ExpertMatrices(const c10::intrusive_ptr<Mxfp4Tensor>& source, at::Device device = at::kCPU);

  const std::vector<int64_t>& sizes() const { return source_->sizes(); }
  /// Bytes of the form that products read.
  int64_t bytes() const { return laid_out() ? rows16_->bytes() : source_->bytes(); }
  /// The exact values, on the device: for products of other devices than the processor, and for gradients.
  const Mxfp4Tensor& source() const { return *source_; }

  /// Whether they are laid out, which they stay.
  bool laid_out() const { return laid_out_.load(std::memory_order_acquire); }
  /// Once they are laid_out().
  const LaidOutExperts& rows16() const { return *rows16_; }

  /// Notes that products with `experts` of them were computed.
  void count_uses(int64_t experts) { uses_.fetch_add(experts, std::memory_order_relaxed); }
  /// Lays them out, on all threads, unless the machine lacks the memory or they are laid out already. May be called at
  /// the same time by several. @return whether that was done now
  bool lay_out();
  /// The same, only when they have been used so often that it pays.
  bool lay_out_if_due();

 private:
  c10::intrusive_ptr<Mxfp4Tensor> source_;
  std::optional<LaidOutExperts> rows16_;
  std::atomic<bool> laid_out_ = false;
  std::atomic<int64_t> uses_ = 0;
  std::mutex laying_out_;
};

}  // namespace xinslm
