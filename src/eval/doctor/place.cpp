#include "eval/doctor/place.h"

#include <ATen/ATen.h>
#include <c10/util/Exception.h>

#include <algorithm>

namespace xinslm::doctor {

std::vector<Place> places_of(at::Device device) {
  if (!device.is_cpu()) return {{device.str(), device, {}}};
  std::vector<Place> places;
  for (const Isa isa : supported_isas()) places.push_back({isa_name(isa), device, isa});
  return places;
}

Place plainest_place() {
  return {isa_name(Isa::scalar), at::kCPU, Isa::scalar};
}

double largest_difference(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor found = a.to(at::kCPU).to(at::kDouble), expected = b.to(at::kCPU).to(at::kDouble);
  if (found.numel() == 0) return 0;
  const double largest = (found - expected).abs().max().item<double>();
  return largest / std::max(1e-3, expected.abs().max().item<double>());
}

std::string problem_text(const std::exception& problem) {
  const auto* torch = dynamic_cast<const c10::Error*>(&problem);
  const std::string text = torch != nullptr ? torch->what_without_backtrace() : problem.what();
  return text.substr(0, text.find('\n'));
}

}  // namespace xinslm::doctor
