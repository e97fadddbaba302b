#include "xinslm/core/machine.h"

#include <ATen/Parallel.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <fstream>
#include <set>
#include <span>
#include <sstream>
#include <string>
#include <thread>

#include "core/pages.h"

#ifdef __APPLE__
#include <sys/sysctl.h>
#else
#include <malloc.h>
#include <sched.h>
#endif
#ifdef __linux__
#include <link.h>
#include <sys/mman.h>
#endif

namespace xinslm {
namespace {

#ifdef __APPLE__

std::string sysctl_text(const char* name) {
  char buffer[256];
  size_t size = sizeof buffer;
  return ::sysctlbyname(name, buffer, &size, nullptr, 0) == 0 ? std::string(buffer) : "unknown processor";
}

int64_t sysctl_number(const char* name) {
  int64_t value = 0;
  size_t size = sizeof value;
  return ::sysctlbyname(name, &value, &size, nullptr, 0) == 0 ? value : 0;
}

#else

/// The first line of a file that holds one number, or the fallback ("max", missing file).
int64_t number_in(const std::string& path, int64_t fallback) {
  std::ifstream in(path);
  int64_t value;
  return in >> value ? value : fallback;
}

/// The number that follows a word in a file, or the fallback.
int64_t number_after(const std::string& path, const std::string& word, int64_t fallback) {
  std::ifstream in(path);
  for (std::string found; in >> found;) {
    int64_t value;
    if (found == word && in >> value) return value;
  }
  return fallback;
}

/// Cores behind the processors we may run on: siblings of one core count once.
int affinity_cores() {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (::sched_getaffinity(0, sizeof allowed, &allowed) != 0) return 0;
  std::set<std::string> cores;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &allowed)) continue;
    std::ifstream in("/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/thread_siblings_list");
    std::string siblings;
    if (!(in >> siblings)) siblings = std::to_string(cpu);
    cores.insert(siblings);
  }
  return static_cast<int>(cores.size());
}

/// Whole processors the control group may use at a time; 0 = no limit.
int cgroup_cores() {
  std::ifstream in("/sys/fs/cgroup/cpu.max");
  double quota, period;
  if (!(in >> quota >> period) || period <= 0) return 0;
  return std::max(1, static_cast<int>(quota / period));
}

#endif

}  // namespace

std::string processor_name() {
#ifdef __APPLE__
  return sysctl_text("machdep.cpu.brand_string");
#else
  std::ifstream in("/proc/cpuinfo");
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  }
  return "unknown processor";
#endif
}

bool has_native_bfloat16(std::string_view processor) {
  constexpr std::string_view family = "Apple M";
  constexpr int first_generation = 3;
  int generation = 0;
  return processor.starts_with(family) &&
         std::from_chars(processor.begin() + family.size(), processor.end(), generation).ec == std::errc{} &&
         generation >= first_generation;
}

std::string system_name() {
  struct utsname system {};
  if (::uname(&system) != 0) return "unknown system";
  return std::string(system.sysname) + " " + system.release + " " + system.machine;
}

int available_cores() {
#ifdef __APPLE__
  const int64_t performance = sysctl_number("hw.perflevel0.physicalcpu");
  return static_cast<int>(std::max<int64_t>(1, performance > 0 ? performance : sysctl_number("hw.physicalcpu")));
#else
  int cores = affinity_cores();
  if (cores == 0) cores = static_cast<int>(std::thread::hardware_concurrency());
  if (const int limit = cgroup_cores(); limit > 0) cores = std::min(cores, limit);
  return std::max(1, cores);
#endif
}

int64_t total_memory() {
#ifdef __APPLE__
  return sysctl_number("hw.memsize");
#else
  const int64_t physical = static_cast<int64_t>(::sysconf(_SC_PHYS_PAGES)) * ::sysconf(_SC_PAGESIZE);
  return std::min(physical, number_in("/sys/fs/cgroup/memory.max", physical));
#endif
}

int64_t available_memory() {
#ifdef __APPLE__
  return total_memory() - peak_memory();
#else
  const int64_t total = total_memory();
  const int64_t machine = number_after("/proc/meminfo", "MemAvailable:", total / 1024) * 1024;
  return std::min(machine, total - number_after("/sys/fs/cgroup/memory.stat", "anon", 0));
#endif
}

void forget_start_up_code() {
#ifdef __linux__
  constexpr auto forget = [](dl_phdr_info* object, size_t, void*) {
    if (std::string_view(object->dlpi_name).find("libtorch_cpu.") == std::string_view::npos) return 0;
    const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
    for (const auto& part : std::span(object->dlpi_phdr, object->dlpi_phnum)) {
      if (part.p_type != PT_LOAD || (part.p_flags & PF_W) != 0) continue;
      const uintptr_t begin = object->dlpi_addr + part.p_vaddr, end = begin + part.p_memsz;
      const Pages pages = whole_pages(begin, end, page);
      if (pages.bytes > 0) ::madvise(pages.begin, pages.bytes, MADV_DONTNEED);
    }
    return 1;
  };
  ::dl_iterate_phdr(forget, nullptr);
#endif
}

int64_t unused_memory() {
#ifdef __APPLE__
  return available_memory();
#else
  return number_after("/proc/meminfo", "MemFree:", total_memory() / 1024) * 1024;
#endif
}

int64_t peak_memory() {
  struct rusage usage {};
  ::getrusage(RUSAGE_SELF, &usage);
#ifdef __APPLE__
  return usage.ru_maxrss;
#else
  return usage.ru_maxrss * 1024;
#endif
}

void restart_with_sleeping_threads([[maybe_unused]] char** argv) {
#ifdef __linux__
  if (std::getenv("OMP_WAIT_POLICY") != nullptr) return;
  ::setenv("OMP_WAIT_POLICY", "passive", /*overwrite=*/1);
  ::setenv("GOMP_SPINCOUNT", "10000", /*overwrite=*/0);
  ::execv("/proc/self/exe", argv);  // returns only where it is not allowed: then the threads spin
#endif
}

void configure_threads(int threads) {
  at::set_num_threads(threads > 0 ? threads : available_cores());
  // oneDNN and LibTorch keep a kernel of 1.4 MB for each shape of a bfloat16 product, 1,024 of them by default, but
  // experts have a new number of tokens every time. With 64, training speed did not differ beyond the noise.
  ::setenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64", /*overwrite=*/0);
  ::setenv("LRU_CACHE_CAPACITY", "64", /*overwrite=*/0);
#ifdef __GLIBC__
  // Without this every tensor above 128 KiB is mapped and unmapped afresh, and each of its pages faulted in again.
  ::mallopt(M_MMAP_THRESHOLD, 32 << 20);  // the largest value glibc takes
  ::mallopt(M_TRIM_THRESHOLD, 1 << 30);
  ::mallopt(M_TOP_PAD, 64 << 20);
#endif
}

}  // namespace xinslm
