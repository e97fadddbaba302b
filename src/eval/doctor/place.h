#pragma once
#include <ATen/core/Tensor.h>

#include <optional>
#include <string>
#include <vector>

#include "xinslm/core/cpu_features.h"

namespace xinslm::doctor {

/// Where something is computed: a GPU, or the processor with one of its instruction sets.
struct Place {
  std::string name;
  at::Device device;
  std::optional<Isa> isa;
};

/// Those of a device: one on a GPU, all instruction sets on the processor.
std::vector<Place> places_of(at::Device device);

/// The processor's plainest kernels.
Place plainest_place();

/// Computes in a place for as long as it lives.
class StayAt {
 public:
  explicit StayAt(const Place& place) : before_(active_isa()) {
    if (place.isa) set_active_isa(*place.isa);
  }
  StayAt(const StayAt&) = delete;
  StayAt& operator=(const StayAt&) = delete;
  ~StayAt() { set_active_isa(before_); }

 private:
  Isa before_;
};

/// Largest |a - b| over the largest |b|, at least 1e-3; NaN where either has one.
double largest_difference(const at::Tensor& a, const at::Tensor& b);

/// What an exception says, on one line.
std::string problem_text(const std::exception& problem);

}  // namespace xinslm::doctor
