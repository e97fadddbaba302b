#include "xinslm/core/libtorch.h"

#include <ATen/Parallel.h>
#include <dlfcn.h>

namespace xinslm {

std::string libtorch_version() {
  return XINSLM_LIBTORCH_VERSION;
}

std::string libtorch_path() {
  Dl_info found{};
  const bool known = ::dladdr(reinterpret_cast<const void*>(&at::get_num_threads), &found) != 0;
  return known && found.dli_fname != nullptr ? found.dli_fname : "unknown";
}

}  // namespace xinslm
