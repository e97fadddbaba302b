#include "xinslm/quant/expert_matrices.h"

#include <ATen/ATen.h>

#include "quant/mxfp4_layout.h"
#include "xinslm/core/error.h"
#include "xinslm/core/machine.h"

namespace xinslm {
namespace {

/// Uses of an average expert. Laying experts out reads and writes them and has the system clear as much memory, which
/// takes as long as what that many products lose by reading them from a map (docs/performance.md).
constexpr int64_t uses_before_layout = 6;

/// Checked where it lies: devices differ in what they can do with bytes.
c10::intrusive_ptr<Mxfp4Tensor> checked(const c10::intrusive_ptr<Mxfp4Tensor>& source, at::Device device) {
  if (source->sizes().size() != 3) {
    data_error("tensor ", source->name(), " is ", at::IntArrayRef(source->sizes()), ", expected [experts, rows, in]");
  }
  if (source->layout() != PackedLayout::rows16) reject_nan_scales(*source);
  return device.is_cpu() ? source->to(device) : source->for_products(device);
}

}  // namespace

ExpertMatrices::ExpertMatrices(const c10::intrusive_ptr<Mxfp4Tensor>& source, at::Device device)
    : source_(checked(source, device)) {
  if (!device.is_cpu() || source_->layout() != PackedLayout::rows16) return;
  rows16_.emplace(*source_);
  laid_out_ = true;
}

bool ExpertMatrices::lay_out_if_due() {
  if (laid_out() || uses_.load(std::memory_order_relaxed) < uses_before_layout * sizes()[0]) return false;
  uses_ = 0;  // without the memory, asked again some time later
  return lay_out();
}

bool ExpertMatrices::lay_out() {
  const std::lock_guard lock(laying_out_);
  if (laid_out() || available_memory() < 2 * bytes()) return false;
  rows16_.emplace(*source_);
  laid_out_.store(true, std::memory_order_release);
  return true;
}

}  // namespace xinslm
