#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

// Memory of a GPU that shares the machine's. On the processor nothing here does anything: its memory is the process'
// (core/machine.h).
namespace xinslm {

struct DeviceMemory {
  int64_t tensors = 0;  ///< bytes of tensors held now
  int64_t driver = 0;   ///< bytes the system has given for them, with what is kept for reuse
};
DeviceMemory device_memory(at::Device device);

/// Bytes that may be used on the device: what the GPU's driver recommends as the largest working set (about two thirds
/// of a 16 GB Mac), or the machine's memory.
int64_t recommended_memory(at::Device device);

/// From now on allocations beyond so many bytes fail with an error instead of pushing the system into swapping. The
/// driver takes at most twice what it recommends. Does nothing where PYTORCH_MPS_HIGH_WATERMARK_RATIO, LibTorch's own
/// variable for this, is set.
void limit_memory(at::Device device, int64_t bytes);

/// Gives back what LibTorch keeps for reuse.
void return_unused_memory(at::Device device);

/// "2.10 of 10.67 GiB" that the GPU holds; "" on the processor.
std::string device_memory_text(at::Device device);

/// Whether an error's text, LibTorch's or Metal's, says that memory ran out.
bool is_out_of_memory(const std::string& message);

}  // namespace xinslm
