#pragma once
#include <c10/core/DispatchKey.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

// Work that a GPU has no kernel for and that something slower does in its place: never silently. Each operator is named
// in the log once, and `xinslm doctor` lists them all.
namespace xinslm {

enum class FallbackTo {
  reference,  ///< an operator of ours ran as its plain ATen expression, still on the device
  processor,  ///< an operator of LibTorch's was computed on the processor, its tensors copied there and back
};

struct Fallback {
  std::string op;  ///< "attention", "aten::histc"
  FallbackTo to;
  int64_t calls;
};

/// Counts a call; the first one of an operator is written to the log.
void count_fallback(std::string_view op, FallbackTo to);

/// What was counted since the start or the last clear_fallbacks(), by name.
std::vector<Fallback> fallbacks();
void clear_fallbacks();

/// From now on LibTorch's operators without a kernel for the device run on the processor and are counted, where they
/// would have thrown. LibTorch has the environment variable PYTORCH_ENABLE_MPS_FALLBACK for that, but reads it when it
/// is loaded, before main, and names the first operator only. Once is enough; further calls do nothing.
/// @param device  the device's key, for example c10::DispatchKey::MPS
/// @return        the operators concerned
const std::vector<std::string>& allow_processor_fallback(c10::DispatchKey device);

}  // namespace xinslm
