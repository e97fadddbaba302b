#include "xinslm/quant/expert_matrices.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <utility>

#include "quant/mxfp4_layout.h"
#include "quant/rows16.h"
#include "xinslm/core/error.h"
#include "xinslm/core/mapped_tensor.h"

namespace xinslm {
namespace {

/// Laying an expert out reads it, has the system clear as much memory, and writes it: about three products of one row,
/// of which each later one takes some two thirds of the time that it takes from a map of small pages.
constexpr int uses_before_layout = 4;

/// Checked where it lies: devices differ in what they can do with bytes.
c10::intrusive_ptr<Mxfp4Tensor> checked(const c10::intrusive_ptr<Mxfp4Tensor>& source, at::Device device) {
  if (source->layout() != PackedLayout::rows16) reject_nan_scales(*source);
  return device.is_cpu() ? source->to(device) : source->for_products(device);
}

}  // namespace

ExpertMatrices::ExpertMatrices(const c10::intrusive_ptr<Mxfp4Tensor>& source, at::Device device)
    : source_(checked(source, device)),
      groups_(sizes().size() == 3 ? row_groups(sizes()[1]) : 0),
      ready_(sizes().size() == 3 ? static_cast<size_t>(sizes()[0]) : 0),
      uses_(ready_.size()) {
  if (sizes().size() != 3) {
    data_error("tensor ", source_->name(), " is ", at::IntArrayRef(sizes()), ", expected [experts, rows, in]");
  }
  const bool ready = source_->layout() == PackedLayout::rows16;
  if (device.is_cpu()) rows16_ = ready ? source_ : empty_rows16(*source_);
  for (auto& one : ready_) one = ready;
}

bool ExpertMatrices::due(int64_t expert) const {
  return !ready(expert) && uses_[static_cast<size_t>(expert)].load(std::memory_order_relaxed) >= uses_before_layout;
}

void ExpertMatrices::prepare(int64_t expert) {
  const std::lock_guard lock(preparing_);
  if (ready(expert)) return;
  at::parallel_for(0, groups_, std::max<int64_t>(1, groups_ / at::get_num_threads()),
                   [&](int64_t begin, int64_t end) { lay_out(expert, begin, end); });
  set_ready(expert);
}

void ExpertMatrices::lay_out(int64_t expert, int64_t begin, int64_t end) {
  if (begin < end) lay_out_groups(*source_, *rows16_, expert, begin, end);
}

void ExpertMatrices::set_ready(int64_t expert) {
  ready_[static_cast<size_t>(expert)].store(true, std::memory_order_release);
  forget_pages(source_->values()[expert]);
  forget_pages(source_->scales()[expert]);
}

}  // namespace xinslm
