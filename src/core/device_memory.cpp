#include "xinslm/core/device_memory.h"

#include <ATen/detail/MPSHooksInterface.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "xinslm/core/machine.h"

namespace xinslm {
namespace {

const at::MPSHooksInterface& mps() {
  return at::detail::getMPSHooks();
}

}  // namespace

DeviceMemory device_memory(at::Device device) {
  if (!device.is_mps()) return {};
  return {static_cast<int64_t>(mps().getCurrentAllocatedMemory()),
          static_cast<int64_t>(mps().getDriverAllocatedMemory())};
}

int64_t recommended_memory(at::Device device) {
  if (!device.is_mps()) return total_memory();
  const auto recommended = static_cast<int64_t>(mps().getRecommendedMaxMemory());
  return recommended > 0 ? std::min(recommended, total_memory()) : total_memory();
}

void limit_memory(at::Device device, int64_t bytes) {
  if (!device.is_mps() || std::getenv("PYTORCH_MPS_HIGH_WATERMARK_RATIO") != nullptr) return;
  const auto recommended = static_cast<double>(mps().getRecommendedMaxMemory());
  constexpr double largest_share = 2;  // MPSAllocator takes no more
  if (recommended > 0) mps().setMemoryFraction(std::min(largest_share, static_cast<double>(bytes) / recommended));
}

void return_unused_memory(at::Device device) {
  if (device.is_mps()) mps().emptyCache();
}

std::string device_memory_text(at::Device device) {
  if (!device.is_mps()) return "";
  char text[64];
  std::snprintf(text, sizeof text, "%.2f of %.2f GiB", static_cast<double>(device_memory(device).driver) / (1 << 30),
                static_cast<double>(recommended_memory(device)) / (1 << 30));
  return text;
}

bool is_out_of_memory(const std::string& message) {
  for (const char* words : {"not enough memory", "out of memory", "Insufficient Memory", "OutOfMemory"}) {
    if (message.find(words) != std::string::npos) return true;
  }
  return false;
}

}  // namespace xinslm
