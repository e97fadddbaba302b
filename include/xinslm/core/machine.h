#pragma once
#include <cstdint>
#include <string>

namespace xinslm {

/// The processor's name as the system gives it, for example "AMD EPYC 9654".
std::string processor_name();

/// Physical cores this process may run on (affinity and cgroup limits counted), at least 1.
int available_cores();

/// Memory of the machine in bytes, or of the control group when that is less.
int64_t total_memory();

/// Largest resident set of this process so far, in bytes.
int64_t peak_memory();

/// Sets LibTorch's and our own threads. 0 = available_cores(). Also fixes what makes CPU training slow by default:
/// glibc returning large tensors to the system at every call.
void configure_threads(int threads);

}  // namespace xinslm
