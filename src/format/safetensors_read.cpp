#include <ATen/ATen.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "format/safetensors_types.h"
#include "xinslm/core/error.h"
#include "xinslm/core/file.h"
#include "xinslm/core/json.h"
#include "xinslm/core/mapped_tensor.h"
#include "xinslm/format/safetensors.h"

namespace fs = std::filesystem;

namespace xinslm {
namespace {

static_assert(std::endian::native == std::endian::little, "safetensors files are little-endian");

constexpr size_t length_bytes = 8;
constexpr uint64_t max_header_bytes = 100'000'000;  // the safetensors library's own limit

/// One line of the header, checked.
struct Entry {
  std::string name;
  at::ScalarType type;
  std::vector<int64_t> shape;
  uint64_t begin, end;  // bytes, from the start of the data
};

/// The file, and where it was being read when something turned out to be wrong.
class Reader {
 public:
  explicit Reader(const fs::path& file) : file_(std::make_shared<MappedFile>(file)), where_(file.string()) {}

  NamedTensors read() {
    const Json header = read_header();
    std::vector<Entry> entries;
    for (const auto& [name, value] : header.items()) {
      if (name == "__metadata__") {
        check_metadata(value);
      } else {
        entries.push_back(read_entry(name, value));
      }
    }
    std::stable_sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
      return a.begin != b.begin ? a.begin < b.begin : a.end < b.end;
    });
    check_layout(entries);
    NamedTensors tensors;
    for (const Entry& entry : entries) tensors.emplace_back(entry.name, map_tensor(entry));
    return tensors;
  }

 private:
  Json read_header() {
    const auto bytes = file_->bytes();
    if (bytes.size() < length_bytes) {
      data_error(where_, ": is ", bytes.size(), " bytes long, too short to be a safetensors file; was it cut off?");
    }
    uint64_t header_bytes = 0;
    std::memcpy(&header_bytes, bytes.data(), length_bytes);
    if (header_bytes > max_header_bytes || header_bytes > bytes.size() - length_bytes) {
      data_error(where_, ": the header claims ", header_bytes, " bytes, but the file is ", bytes.size(),
                 " bytes long; it is damaged or not a safetensors file");
    }
    data_ = bytes.subspan(length_bytes + header_bytes);
    const Json header = parse_header(file_->text().substr(length_bytes, header_bytes));
    if (!header.is_object()) data_error(where_, ": the header is not a JSON object; it is damaged");
    return header;
  }

  /// JSON objects may hold a name twice; a file that does is ambiguous, so it is refused.
  Json parse_header(std::string_view text) {
    std::set<std::string> names;
    const auto check_name = [&](int depth, Json::parse_event_t event, Json& value) {
      if (depth == 1 && event == Json::parse_event_t::key) {
        const auto name = value.get<std::string>();
        if (!names.insert(name).second) data_error(where_, ": tensor ", name, " is in the header twice");
      }
      return true;
    };
    try {
      return Json::parse(text, check_name);
    } catch (const Json::exception& problem) {
      data_error(where_, ": the header is not valid JSON: ", problem.what());
    }
  }

  void check_metadata(const Json& value) const {
    if (!value.is_object()) data_error(where_, ": __metadata__ is not an object of strings");
    for (const auto& [key, text] : value.items()) {
      if (!text.is_string()) data_error(where_, ": __metadata__ ", key, " is not a string");
    }
  }

  template <class... Parts>
  [[noreturn]] void entry_error(const std::string& name, const Parts&... parts) const {
    data_error(where_, ": tensor ", name, " ", parts...);
  }

  /// A list of unsigned integers. Lengths come from the file, so nothing is assumed about them.
  std::vector<uint64_t> unsigned_list(const std::string& name, const Json& value, const char* key) const {
    const auto found = value.find(key);
    if (found == value.end() || !found->is_array()) entry_error(name, "has no list ", key);
    std::vector<uint64_t> numbers;
    for (const Json& number : *found) {
      if (!number.is_number_unsigned()) {
        entry_error(name, "has ", dump_json(number), " in ", key, ", expected integers of at least 0");
      }
      numbers.push_back(number.get<uint64_t>());
    }
    return numbers;
  }

  Entry read_entry(const std::string& name, const Json& value) const {
    if (!value.is_object()) entry_error(name, "is described by ", dump_json(value), ", expected an object");
    const auto dtype = value.find("dtype");
    if (dtype == value.end() || !dtype->is_string()) entry_error(name, "has no dtype");
    const auto type = type_of_safetensors_name(dtype->get_ref<const std::string&>());
    if (!type) entry_error(name, "has dtype ", dump_json(*dtype), ", which this version does not read");
    const auto offsets = unsigned_list(name, value, "data_offsets");
    if (offsets.size() != 2) entry_error(name, "has ", offsets.size(), " data_offsets, expected 2");
    Entry entry{name, *type, {}, offsets[0], offsets[1]};
    if (entry.begin > entry.end || entry.end > data_.size()) {
      entry_error(name, "lies at bytes ", entry.begin, " to ", entry.end, " of the data, but there are ", data_.size(),
                  "; the file is damaged or was cut off");
    }
    read_shape(entry, unsigned_list(name, value, "shape"));
    return entry;
  }

  void read_shape(Entry& entry, const std::vector<uint64_t>& sizes) const {
    const uint64_t limit = uint64_t{1} << 62;
    uint64_t bytes = c10::elementSize(entry.type);
    bool empty = false;
    for (const uint64_t size : sizes) {
      if (size > limit || (size != 0 && bytes > limit / size)) {
        entry_error(entry.name, "has a shape too large to be true");
      }
      // Zero sizes are left out of the product, or a huge size beside a zero would escape the check above.
      if (size == 0) empty = true;
      if (size != 0) bytes *= size;
      entry.shape.push_back(static_cast<int64_t>(size));
    }
    if (empty) bytes = 0;
    if (bytes != entry.end - entry.begin) {
      entry_error(entry.name, "has shape ", at::IntArrayRef(entry.shape), " of ", bytes, " bytes, but ",
                  entry.end - entry.begin, " bytes of data");
    }
  }

  /// The format allows neither overlaps nor gaps: bytes nobody claims could hide something.
  void check_layout(const std::vector<Entry>& entries) const {
    uint64_t end = 0;
    for (const Entry& entry : entries) {
      if (entry.begin != end) {
        entry_error(entry.name, "starts at byte ", entry.begin, " of the data where ", end, " was expected: tensors ",
                    entry.begin < end ? "overlap" : "leave a gap");
      }
      end = entry.end;
    }
    if (end != data_.size()) {
      data_error(where_, ": the tensors end at byte ", end, " of the data, but there are ", data_.size(), " bytes");
    }
  }

  at::Tensor map_tensor(const Entry& entry) const {
    const std::byte* start = data_.data() + entry.begin;
    const auto options = at::TensorOptions().dtype(entry.type);
    if (entry.begin == entry.end) return at::empty(entry.shape, options);
    if (entry.type == at::kBool) check_booleans(entry);
    const size_t alignment = std::min<size_t>(c10::elementSize(entry.type), 8);
    if (reinterpret_cast<uintptr_t>(start) % alignment != 0) {
      at::Tensor copy = at::empty(entry.shape, options);
      std::memcpy(copy.mutable_data_ptr(), start, entry.end - entry.begin);
      return copy;
    }
    return xinslm::map_tensor(file_, static_cast<size_t>(start - file_->bytes().data()), entry.shape, entry.type);
  }

  /// A bool that is neither 0 nor 1 is undefined behaviour in C++.
  void check_booleans(const Entry& entry) const {
    for (const std::byte value : data_.subspan(entry.begin, entry.end - entry.begin)) {
      if (std::to_integer<int>(value) > 1) entry_error(entry.name, "is BOOL, but holds other bytes than 0 and 1");
    }
  }

  std::shared_ptr<MappedFile> file_;
  std::string where_;
  std::span<const std::byte> data_;
};

}  // namespace

NamedTensors read_safetensors(const fs::path& file) {
  return Reader(file).read();
}

}  // namespace xinslm
