// The packed tensors as LibTorch classes, torch.classes.xinslm.Mxfp4Tensor and Q8Tensor: so they can be inside what
// torch::save and TorchScript write, and be arguments of operators.
#include <torch/library.h>

#include <sstream>
#include <string>
#include <tuple>
#include <vector>

#include "xinslm/quant/packed_tensor.h"

namespace xinslm {
namespace {

using State = std::tuple<std::string, std::string, std::vector<int64_t>, at::Tensor, at::Tensor>;

State state_of(const PackedTensor& tensor) {
  const PackedParts parts = tensor.saved_parts();
  return {parts.name, std::string(layout_name(parts.layout)), parts.sizes, parts.values, parts.scales};
}

template <class T>
c10::intrusive_ptr<T> from_state(const State& state) {
  const auto& [name, layout, sizes, values, scales] = state;
  return c10::make_intrusive<T>(PackedParts{name, layout_of_name(layout), sizes, values, scales});
}

std::string line_of(const PackedTensor& tensor) {
  std::ostringstream line;
  line << tensor;
  return line.str();
}

template <class T>
void register_class(torch::Library& library, const char* name) {
  using Self = c10::intrusive_ptr<T>;
  library.class_<T>(name)
      .def_static("from_checkpoint", &T::from_checkpoint)
      .def("name", [](const Self& self) { return self->name(); })
      .def("layout", [](const Self& self) { return std::string(layout_name(self->layout())); })
      .def("sizes", [](const Self& self) { return self->sizes(); })
      .def("values", [](const Self& self) { return self->values(); })
      .def("scales", [](const Self& self) { return self->scales(); })
      .def("bytes", [](const Self& self) { return self->bytes(); })
      .def("repack", [](const Self& self, std::string layout) { return self->repack(layout_of_name(layout)); })
      .def("to", [](const Self& self, at::Device device) { return self->to(device); })
      .def("dequantize", [](const Self& self, at::ScalarType type) { return self->dequantize(type); })
      .def("__repr__", [](const Self& self) { return line_of(*self); })
      .def("__str__", [](const Self& self) { return line_of(*self); })
      .def_pickle([](const Self& self) { return state_of(*self); },
                  [](const State& state) { return from_state<T>(state); });
}

}  // namespace
}  // namespace xinslm

// A fragment: the operators, a layer above, open the library.
TORCH_LIBRARY_FRAGMENT(xinslm, library) {
  xinslm::register_class<xinslm::Mxfp4Tensor>(library, "Mxfp4Tensor");
  xinslm::register_class<xinslm::Q8Tensor>(library, "Q8Tensor");
}
