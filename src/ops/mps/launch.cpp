#include "ops/mps/launch.h"

#include <torch/csrc/inductor/aoti_torch/c/shim_mps.h>
#include <torch/csrc/inductor/aoti_torch/utils.h>

#include <bit>
#include <map>
#include <mutex>

#include "ops/mps/sources.h"
#include "xinslm/core/error.h"

#if __has_include(<torch/csrc/shim_exception_state.h>)  // newer versions of LibTorch keep the message
#include <torch/csrc/shim_exception_state.h>
#define XINSLM_SHIM_KEEPS_MESSAGES
#endif

namespace xinslm::mps {
namespace {

std::string last_error() {
#ifdef XINSLM_SHIM_KEEPS_MESSAGES
  return cat(": ", torch::csrc::shim::details::get_torch_exception_what_without_backtrace());
#else
  return "; what LibTorch printed above tells why";
#endif
}

/// Libraries are compiled when first used and kept as long as the process runs, as are their kernels.
class Libraries {
 public:
  AOTIMetalKernelFunctionHandle kernel(std::string_view library, const std::string& name) {
    const std::lock_guard lock(mutex_);  // backward passes launch from threads of their own
    AOTIMetalKernelFunctionHandle& kernel = kernels_[cat(library, "/", name)];
    if (kernel != nullptr) return kernel;
    const auto compiled = compile(library);
    if (aoti_torch_mps_get_kernel_function(compiled, name.c_str(), &kernel) != AOTI_TORCH_SUCCESS) {
      kernel = nullptr;
      runtime_failure("Metal library ", library, ": no kernel ", name, last_error());
    }
    return kernel;
  }

 private:
  AOTIMetalShaderLibraryHandle compile(std::string_view name) {
    const auto source = metal_sources().find(name);
    if (source == metal_sources().end()) runtime_failure("Metal library ", name, " is not part of this program");
    AOTIMetalShaderLibraryHandle& library = libraries_[source->first];
    if (library != nullptr) return library;
    if (aoti_torch_mps_create_shader_library(source->second, &library) != AOTI_TORCH_SUCCESS) {
      library = nullptr;
      runtime_failure("Metal library ", name, " does not compile", last_error());
    }
    return library;
  }

  std::mutex mutex_;
  std::map<std::string_view, AOTIMetalShaderLibraryHandle> libraries_;
  std::map<std::string, AOTIMetalKernelFunctionHandle> kernels_;
};

struct Encoding {
  std::vector<std::variant<at::Tensor, int64_t>>& arguments;
  Size3 threads, group;
  bool failed = false;
};

/// Runs on the queue of the device; an exception must not leave it.
void encode(AOTIMetalKernelFunctionHandle function, void* data) {
  auto& encoding = *static_cast<Encoding*>(data);
  bool well = aoti_torch_mps_start_encoding(function) == AOTI_TORCH_SUCCESS;
  for (unsigned i = 0; well && i < encoding.arguments.size(); ++i) {
    auto& argument = encoding.arguments[i];
    if (auto* tensor = std::get_if<at::Tensor>(&argument)) {
      const auto handle = torch::aot_inductor::tensor_pointer_to_tensor_handle(tensor);
      well = aoti_torch_mps_set_arg_tensor(function, i, handle) == AOTI_TORCH_SUCCESS;
    } else {
      well = aoti_torch_mps_set_arg_int(function, i, std::get<int64_t>(argument)) == AOTI_TORCH_SUCCESS;
    }
  }
  const uint64_t threads[] = {encoding.threads.x, encoding.threads.y, encoding.threads.z};
  const uint64_t group[] = {encoding.group.x, encoding.group.y, encoding.group.z};
  well = well && aoti_torch_mps_dispatch_array_with_group_size(function, threads, 3, group, 3) == AOTI_TORCH_SUCCESS;
  encoding.failed = !well;
}

}  // namespace

Launch::Launch(std::string_view library, const std::string& kernel) : name_(cat(library, "/", kernel)) {
  static auto& libraries = *new Libraries;  // kept to the end: the device outlives static objects
  function_ = libraries.kernel(library, kernel);
}

Launch& Launch::tensor(const at::Tensor& x) {
  arguments_.emplace_back(x);
  return *this;
}

Launch& Launch::integer(int64_t value) {
  arguments_.emplace_back(value);
  return *this;
}

Launch& Launch::real(double value) {
  return integer(std::bit_cast<int32_t>(static_cast<float>(value)));
}

void Launch::run(Size3 threads, Size3 group) {
  Encoding encoding{arguments_, threads, group};
  const auto function = static_cast<AOTIMetalKernelFunctionHandle>(function_);
  if (aoti_torch_mps_run_command_block(function, encode, &encoding) != AOTI_TORCH_SUCCESS || encoding.failed) {
    runtime_failure("Metal kernel ", name_, " could not be launched", last_error());
  }
}

}  // namespace xinslm::mps
