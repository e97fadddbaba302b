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
std::vector<const NamedTensors::value_type*> file_order(const NamedTensors& tensors) {
  std::vector<const NamedTensors::value_type*> order;
  for (const auto& entry : tensors) order.push_back(&entry);
  std::stable_sort(order.begin(), order.end(),
                   [](auto* a, auto* b) { return a->second.element_size() > b->second.element_size(); });
  return order;
}

void check_writable(const fs::path& file, const NamedTensors& tensors) {
  std::set<std::string> names{"__metadata__"};
  for (const auto& [name, tensor] : tensors) {
    if (!names.insert(name).second) usage_error(file.string(), ": tensor name ", name, " is reserved or given twice");
    if (!tensor.defined()) usage_error(file.string(), ": tensor ", name, " has no values yet");
    if (safetensors_name_of(tensor.scalar_type()).empty()) {
      usage_error(file.string(), ": tensor ", name, " has type ", tensor.scalar_type(),
                  ", which safetensors files cannot hold");
    }
  }
}

/// Header text with its length in front, padded with spaces so that the data starts on 8 bytes.
std::string make_header(const std::vector<const NamedTensors::value_type*>& order, const Metadata& metadata) {
  Json header = Json::object();
  for (const auto& [key, value] : metadata) header["__metadata__"][key] = value;
  int64_t offset = 0;
  for (const auto* entry : order) {
    const auto& [name, tensor] = *entry;
    const int64_t end = offset + static_cast<int64_t>(tensor.nbytes());
    header[name] = {{"dtype", std::string(safetensors_name_of(tensor.scalar_type()))},
                    {"shape", tensor.sizes().vec()},
                    {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text = dump_json(header);
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const uint64_t length = text.size();
  return std::string(reinterpret_cast<const char*>(&length), sizeof length) + text;
}

}  // namespace

void write_safetensors(const fs::path& file, const NamedTensors& tensors, const Metadata& metadata) {
  check_writable(file, tensors);
  const auto order = file_order(tensors);
  AtomicFile out(file);
  const std::string header = make_header(order, metadata);
  out.stream().write(header.data(), static_cast<std::streamsize>(header.size()));
  for (const auto* entry : order) {
    const at::Tensor plain = entry->second.detach().cpu().contiguous();
    out.stream().write(static_cast<const char*>(plain.const_data_ptr()), static_cast<std::streamsize>(plain.nbytes()));
  }
  out.commit();
}

}  // namespace xinslm
