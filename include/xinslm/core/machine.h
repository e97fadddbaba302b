#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace xinslm {

/// The processor's name as the system gives it, for example "AMD EPYC 9654".
std::string processor_name();

/// Whether Apple's GPU of this name's chip multiplies bfloat16 in hardware: "Apple M3" and later. Earlier ones compute
/// it in software, in float32 with conversions before and after (Apple, Metal Feature Set Tables: Apple9).
bool has_native_bfloat16(std::string_view processor);

/// The operating system with its version, for example "Darwin 24.1.0 arm64".
std::string system_name();

/// Physical cores this process may run on (affinity and cgroup limits counted), at least 1.
int available_cores();

/// Memory of the machine in bytes, or of the control group when that is less.
int64_t total_memory();

/// Bytes of it that could be had now, what files' maps and caches hold counted as free; on a Mac all but what this
/// process has taken at its peak.
int64_t available_memory();

/// Bytes of the machine's memory that hold nothing, not even what was read of files; on a Mac as available_memory().
int64_t unused_memory();

/// Largest resident set of this process so far, in bytes.
int64_t peak_memory();

/// Gives back memory with code that LibTorch ran while it registered its operators, tens of megabytes; what is needed
/// again is read again. Does nothing but on Linux.
void forget_start_up_code();

/// Sets LibTorch's and our own threads. 0 = available_cores(). Also fixes what makes CPU training slow by default:
/// glibc returning large tensors to the system at every call.
void configure_threads(int threads);

/// Starts the program anew with threads that soon sleep while they wait for each other, unless OMP_WAIT_POLICY is set
/// already. For long work on a machine that others use too: libgomp's threads spin for milliseconds by default, and
/// where another process wants the cores training loses most of its speed; sleeping at once costs a tenth of it on a
/// quiet machine, spinning for some microseconds before costs neither (docs/performance.md). libgomp reads the settings
/// when it is loaded, before main, hence the new start (0.2 s). Does nothing but on Linux.
/// @param argv  as main got it
void restart_with_sleeping_threads(char** argv);

}  // namespace xinslm
