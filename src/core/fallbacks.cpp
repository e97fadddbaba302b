#include "xinslm/core/fallbacks.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/native/CPUFallback.h>
#include <torch/library.h>

#include <map>
#include <mutex>
#include <utility>

#include "xinslm/core/error.h"
#include "xinslm/core/log.h"

namespace xinslm {
namespace {

using c10::DispatchKey;
using Counts = std::map<std::pair<std::string, FallbackTo>, int64_t, std::less<>>;

struct Counter {
  std::mutex mutex;
  Counts counts;
  Counts logged;  // survives clearing: once in the log is enough
};

Counter& counter() {
  static Counter instance;
  return instance;
}

void tell(std::string_view op, FallbackTo to) {
  if (to == FallbackTo::processor) {
    log::warning(cat(op, " has no kernel for this GPU and runs on the processor, which is slower"));
  } else {
    log::info(cat(op, " has no kernel of ours for these tensors and runs as its reference"));
  }
}

/// Boxed, so that one function serves every operator.
void run_on_processor(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  count_fallback(op.schema().name(), FallbackTo::processor);
  at::native::cpu_fallback(op, stack);
}

/// A kernel made of other operators works on every device.
bool has_kernel(const c10::OperatorHandle& op, DispatchKey device) {
  for (const DispatchKey key : {device, DispatchKey::CompositeImplicitAutograd, DispatchKey::CompositeExplicitAutograd,
                                DispatchKey::CompositeExplicitAutogradNonFunctional}) {
    if (op.hasKernelForDispatchKey(key)) return true;
  }
  return false;
}

std::vector<std::string> register_fallbacks(DispatchKey device) {
  // Lives as long as the program: taking the kernels back while other threads compute would be a race.
  static auto* library =
      new torch::Library(torch::Library::IMPL, "aten", device, __FILE__, static_cast<uint32_t>(__LINE__));
  std::vector<std::string> names;
  for (const c10::OperatorName& name : c10::Dispatcher::singleton().getAllOpNames()) {
    if (!name.name.starts_with("aten::")) continue;
    const auto op = c10::Dispatcher::singleton().findSchema(name);
    if (!op || !op->hasKernelForDispatchKey(DispatchKey::CPU) || has_kernel(*op, device)) continue;
    const std::string full = c10::toString(name);
    library->impl(full.c_str(), torch::CppFunction::makeFromBoxedFunction<&run_on_processor>());
    names.push_back(full);
  }
  return names;
}

}  // namespace

void count_fallback(std::string_view op, FallbackTo to) {
  const std::pair key{std::string(op), to};
  bool first = false;
  {
    const std::lock_guard lock(counter().mutex);
    ++counter().counts[key];
    first = counter().logged[key]++ == 0;
  }
  if (first) tell(op, to);
}

std::vector<Fallback> fallbacks() {
  const std::lock_guard lock(counter().mutex);
  std::vector<Fallback> all;
  for (const auto& [key, calls] : counter().counts) all.push_back({key.first, key.second, calls});
  return all;
}

void clear_fallbacks() {
  const std::lock_guard lock(counter().mutex);
  counter().counts.clear();
}

const std::vector<std::string>& allow_processor_fallback(DispatchKey device) {
  static const std::vector<std::string> names = register_fallbacks(device);
  return names;
}

}  // namespace xinslm
