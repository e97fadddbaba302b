// LibTorch's C interface to Metal for systems without: launches run in the simulator, on tensors of the processor.
#include "mps/fake_shim.h"

#include <torch/csrc/inductor/aoti_torch/c/shim_mps.h>
#include <torch/csrc/inductor/aoti_torch/utils.h>

#include <algorithm>
#include <map>

#include "mps/simulator.h"

namespace {

using simulator::Argument;
using xinslm::test::RecordedLaunch;

bool is_simulated = false;
bool is_in_block = false;
std::vector<RecordedLaunch> launches;

struct Library {
  std::string name;
};
struct Function {
  const simulator::Kernel* kernel;
  std::vector<std::variant<at::Tensor, int64_t>> arguments;
};

Function* function_of(AOTIMetalKernelFunctionHandle handle) {
  return reinterpret_cast<Function*>(handle);
}

/// The text says where it came from: #line 1 "NAME.metal".
std::string name_in(const std::string& source) {
  const std::string mark = "#line 1 \"";
  const size_t begin = source.rfind(mark);
  if (begin == std::string::npos) return "";
  const size_t name = begin + mark.size();
  return source.substr(name, source.find(".metal", name) - name);
}

/// From the first element of a tensor to its last; a launch may touch no other part of the storage.
Argument buffer_of(const at::Tensor& x) {
  int64_t last = x.numel() == 0 ? -1 : 0;
  for (int64_t d = 0; last >= 0 && d < x.dim(); ++d) last += (x.size(d) - 1) * x.stride(d);
  return {Argument::buffer, const_cast<void*>(x.const_data_ptr()), size_t(last + 1) * x.element_size(), 0};
}

AOTITorchError set_argument(AOTIMetalKernelFunctionHandle handle, unsigned index,
                            std::variant<at::Tensor, int64_t> value) {
  auto& arguments = function_of(handle)->arguments;
  if (!is_in_block || index != arguments.size()) return AOTI_TORCH_FAILURE;
  arguments.push_back(std::move(value));
  return AOTI_TORCH_SUCCESS;
}

}  // namespace

extern "C" {

AOTITorchError aoti_torch_mps_create_shader_library(const char* source, AOTIMetalShaderLibraryHandle* handle) {
  auto library = std::make_unique<Library>(Library{name_in(source)});
  if (!simulator::has_library(library->name)) return AOTI_TORCH_FAILURE;
  *handle = reinterpret_cast<AOTIMetalShaderLibraryHandle>(library.release());
  return AOTI_TORCH_SUCCESS;
}

AOTITorchError aoti_torch_mps_get_kernel_function(AOTIMetalShaderLibraryHandle library, const char* name,
                                                  AOTIMetalKernelFunctionHandle* handle) {
  const auto* kernel = simulator::find_kernel(reinterpret_cast<Library*>(library)->name, name);
  if (!kernel) return AOTI_TORCH_FAILURE;
  *handle = reinterpret_cast<AOTIMetalKernelFunctionHandle>(new Function{kernel, {}});
  return AOTI_TORCH_SUCCESS;
}

AOTITorchError aoti_torch_mps_run_command_block(AOTIMetalKernelFunctionHandle function,
                                                aoti_torch_mps_command_block_callback_t callback, void* data) {
  is_in_block = true;
  callback(function, data);
  is_in_block = false;
  return AOTI_TORCH_SUCCESS;
}

AOTITorchError aoti_torch_mps_start_encoding(AOTIMetalKernelFunctionHandle function) {
  function_of(function)->arguments.clear();
  return is_in_block ? AOTI_TORCH_SUCCESS : AOTI_TORCH_FAILURE;
}

AOTITorchError aoti_torch_mps_set_arg_tensor(AOTIMetalKernelFunctionHandle function, unsigned index,
                                             AtenTensorHandle tensor) {
  return set_argument(function, index, *torch::aot_inductor::tensor_handle_to_tensor_pointer(tensor));
}

AOTITorchError aoti_torch_mps_set_arg_int(AOTIMetalKernelFunctionHandle function, unsigned index, int64_t value) {
  return set_argument(function, index, value);
}

AOTITorchError aoti_torch_mps_dispatch_array_with_group_size(AOTIMetalKernelFunctionHandle handle,
                                                             const uint64_t* threads, size_t threads_size,
                                                             const uint64_t* group, size_t group_size) {
  if (!is_in_block || threads_size != 3 || group_size != 3) return AOTI_TORCH_FAILURE;
  const Function& function = *function_of(handle);
  launches.push_back({function.kernel->library,
                      function.kernel->name,
                      function.arguments,
                      {threads[0], threads[1], threads[2]},
                      {group[0], group[1], group[2]}});
  std::vector<Argument> arguments;
  for (const auto& argument : function.arguments) {
    const auto* tensor = std::get_if<at::Tensor>(&argument);
    arguments.push_back(tensor ? buffer_of(*tensor)
                               : Argument{Argument::integer, nullptr, 0, std::get<int64_t>(argument)});
  }
  simulator::launch(*function.kernel, arguments, {threads[0], threads[1], threads[2]}, {group[0], group[1], group[2]});
  return AOTI_TORCH_SUCCESS;
}

}  // extern "C"

namespace xinslm {

bool mps::is_fast(const at::Tensor& x) {
  const auto type = x.scalar_type();
  return is_simulated && x.is_cpu() && (type == at::kFloat || type == at::kHalf || type == at::kBFloat16);
}

namespace test {

SimulatedMetal::SimulatedMetal() {
  ::launches.clear();
  is_simulated = true;
}

SimulatedMetal::~SimulatedMetal() {
  is_simulated = false;
  ::launches.clear();
}

const std::vector<RecordedLaunch>& SimulatedMetal::launches() const {
  return ::launches;
}

int64_t SimulatedMetal::count(const std::string& kernel) const {
  return std::count_if(::launches.begin(), ::launches.end(), [&](const auto& l) { return l.kernel == kernel; });
}

}  // namespace test
}  // namespace xinslm
