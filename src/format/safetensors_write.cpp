#include <ATen/ATen.h>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "format/safetensors_types.h"
#include "xinslm/core/error.h"
#include "xinslm/core/file.h"
#include "xinslm/core/json.h"
#include "xinslm/format/safetensors.h"

namespace fs = std::filesystem;

namespace xinslm {
namespace {

/// The tensors as they will lie in the file: widest types first, otherwise in the order given.
std::vector<const TensorSource*> file_order(const TensorSources& tensors) {
  std::vector<const TensorSource*> order;
  for (const TensorSource& tensor : tensors) order.push_back(&tensor);
  std::stable_sort(order.begin(), order.end(),
                   [](auto* a, auto* b) { return c10::elementSize(a->type) > c10::elementSize(b->type); });
  return order;
}

void check_writable(const fs::path& file, const TensorSources& tensors) {
  std::set<std::string> names{"__metadata__"};
  for (const TensorSource& tensor : tensors) {
    if (!names.insert(tensor.name).second)
      usage_error(file.string(), ": tensor name ", tensor.name, " is reserved or given twice");
    if (safetensors_name_of(tensor.type).empty()) {
      usage_error(file.string(), ": tensor ", tensor.name, " has type ", tensor.type,
                  ", which safetensors files cannot hold");
    }
  }
}

/// Header text with its length in front, padded with spaces so that the data starts on 8 bytes.
std::string make_header(const std::vector<const TensorSource*>& order, const Metadata& metadata) {
  Json header = Json::object();
  for (const auto& [key, value] : metadata) header["__metadata__"][key] = value;
  int64_t offset = 0;
  for (const TensorSource* tensor : order) {
    const int64_t end = offset + tensor->bytes();
    header[tensor->name] = {{"dtype", std::string(safetensors_name_of(tensor->type))},
                            {"shape", tensor->sizes},
                            {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text = dump_json(header);
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const uint64_t length = text.size();
  return std::string(reinterpret_cast<const char*>(&length), sizeof length) + text;
}

}  // namespace

int64_t TensorSource::bytes() const {
  return c10::multiply_integers(sizes) * static_cast<int64_t>(c10::elementSize(type));
}

TensorSources sources_of(const NamedTensors& tensors) {
  TensorSources sources;
  for (const auto& [name, tensor] : tensors) {
    if (!tensor.defined()) usage_error("tensor ", name, " has no values yet");
    sources.push_back({name, tensor.scalar_type(), tensor.sizes().vec(), [tensor = tensor] { return tensor; }});
  }
  return sources;
}

void write_safetensors(const fs::path& file, const NamedTensors& tensors, const Metadata& metadata) {
  write_safetensors(file, sources_of(tensors), metadata);
}

void write_safetensors(const fs::path& file, const TensorSources& tensors, const Metadata& metadata) {
  check_writable(file, tensors);
  const auto order = file_order(tensors);
  AtomicFile out(file);
  const std::string header = make_header(order, metadata);
  out.write(header);
  for (const TensorSource* source : order) {
    const at::Tensor plain = source->make().detach().cpu().contiguous();
    if (plain.scalar_type() != source->type || plain.sizes() != at::IntArrayRef(source->sizes)) {
      usage_error(file.string(), ": tensor ", source->name, " became ", plain.scalar_type(), " ", plain.sizes(),
                  ", announced as ", source->type, " ", at::IntArrayRef(source->sizes));
    }
    out.write(plain.const_data_ptr(), plain.nbytes());
  }
  out.commit();
}

}  // namespace xinslm
