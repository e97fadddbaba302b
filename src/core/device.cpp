#include "xinslm/core/device.h"

#include <ATen/ATen.h>
#include <ATen/detail/MPSHooksInterface.h>

#include <algorithm>
#include <chrono>
#include <limits>

#include "xinslm/core/error.h"
#include "xinslm/core/fallbacks.h"
#include "xinslm/core/log.h"
#include "xinslm/core/machine.h"

namespace xinslm {
namespace {

constexpr double worthwhile_gain = 1.3;  // what bfloat16 must bring to make up for its rounding

/// Wall-clock seconds of one product, the GPU's queue included.
double product_seconds(const at::Tensor& left, const at::Tensor& right) {
  const auto start = std::chrono::steady_clock::now();
  const at::Tensor product = at::mm(left, right);
  synchronize(product.device());
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

at::Tensor operand(int64_t rows, int64_t columns, at::ScalarType type, at::Device device) {
  return at::linspace(-1, 1, rows * columns).view({rows, columns}).to(device, type);
}

/// Best seconds of `tries` products [rows, inner] x [inner, columns], after one that warms up.
double best_seconds(int64_t rows, int64_t inner, int64_t columns, at::ScalarType type, at::Device device, int tries) {
  const at::Tensor left = operand(rows, inner, type, device), right = operand(inner, columns, type, device);
  product_seconds(left, right);
  double best = std::numeric_limits<double>::infinity();
  for (int i = 0; i < tries; ++i) best = std::min(best, product_seconds(left, right));
  return best;
}

at::ScalarType faster_type(at::Device device) {
  const auto types = compute_types(device);
  if (std::find(types.begin(), types.end(), at::kBFloat16) == types.end()) return at::kFloat;
  // Processors without bfloat16 instructions take up to 500 times as long (pytorch#146508); a small product tells.
  const double probe_gain =
      best_seconds(128, 128, 128, at::kFloat, device, 3) / best_seconds(128, 128, 128, at::kBFloat16, device, 3);
  if (device.is_cpu() && probe_gain < 0.1) return at::kFloat;
  const double float_seconds = best_seconds(1024, 512, 1024, at::kFloat, device, 5);
  const double bfloat_seconds = best_seconds(1024, 512, 1024, at::kBFloat16, device, 5);
  const double gain = float_seconds / bfloat_seconds;
  log::debug(cat("bfloat16 products take 1/", gain, " of the time of float32"));
  return gain >= worthwhile_gain ? at::kBFloat16 : at::kFloat;
}

bool emulates_bfloat16(at::Device device) {
  return device.is_mps() && !has_native_bfloat16(processor_name());
}

}  // namespace

at::Device choose_device(const std::string& name) {
  if (name == "cpu") return at::kCPU;
  if (name != "auto" && name != "mps") usage_error("device is \"", name, "\", expected auto, cpu or mps");
  if (at::hasMPS()) {
    allow_processor_fallback(c10::DispatchKey::MPS);
    return at::kMPS;
  }
  if (name == "mps") {
    usage_error("device mps is not available: it needs macOS on Apple silicon and a LibTorch built with MPS; use cpu");
  }
  return at::kCPU;
}

at::ScalarType choose_compute_type(const std::string& name, at::Device device) {
  if (name == "float32") return at::kFloat;
  if (name == "bfloat16") {
    if (emulates_bfloat16(device)) {
      log::warning(cat(processor_name(), " computes bfloat16 in software; float16 or float32 is faster"));
    }
    return at::kBFloat16;
  }
  if (name == "auto") return faster_type(device);
  if (name != "float16") usage_error("compute type is \"", name, "\", expected auto, float32, bfloat16 or float16");
  if (device.is_cpu())
    usage_error("compute type float16 is far too slow on a processor; use float32, bfloat16 or auto");
  return at::kHalf;
}

std::vector<at::ScalarType> compute_types(at::Device device) {
  std::vector<at::ScalarType> types{at::kFloat};
  if (!device.is_cpu()) types.push_back(at::kHalf);
  if (!emulates_bfloat16(device)) types.push_back(at::kBFloat16);
  return types;
}

std::string compute_type_name(at::ScalarType type) {
  return type == at::kBFloat16 ? "bfloat16" : type == at::kHalf ? "float16" : "float32";
}

void synchronize(at::Device device) {
  if (device.is_mps()) at::detail::getMPSHooks().deviceSynchronize();
}

double measure_matmul_flops(at::ScalarType type, at::Device device) {
  constexpr double budget_seconds = 0.3;
  int64_t size = 512;
  double seconds = best_seconds(size, size, size, type, device, 1);
  // Larger products come closer to the peak, as long as a handful of them fit into the time.
  while (size < 2048 && seconds * 8 * 4 < budget_seconds) {
    size *= 2;
    seconds = best_seconds(size, size, size, type, device, 1);
  }
  const int tries = static_cast<int>(std::clamp(budget_seconds / seconds, 2.0, 20.0));
  seconds = std::min(seconds, best_seconds(size, size, size, type, device, tries));
  return 2.0 * static_cast<double>(size * size * size) / seconds;
}

}  // namespace xinslm
