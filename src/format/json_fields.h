#pragma once
#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "xinslm/core/error.h"
#include "xinslm/core/json.h"

namespace xinslm {

/// Reads the keys of one JSON object, remembers which were read, and turns every surprise into an Error(data) that
/// names file, key, what was found and what was expected. A null counts as a missing key.
class JsonFields {
 public:
  /// @param where  file and, inside it, the object's place, for errors
  JsonFields(const Json& object, std::string where) : object_(object), where_(std::move(where)) {
    if (!object_.is_object()) data_error(where_, ": is ", dump_json(object_), ", expected a JSON object");
  }

  const std::string& where() const { return where_; }

  /// The value, or nullptr where the key is missing or null.
  const Json* find(const std::string& key) {
    known_.insert(key);
    const auto found = object_.find(key);
    return found == object_.end() || found->is_null() ? nullptr : &*found;
  }

  /// Sets `value` where the key is there. @return whether it is
  template <class T>
  bool read(const std::string& key, T& value) {
    const Json* found = find(key);
    if (found != nullptr) convert(key, *found, value);
    return found != nullptr;
  }

  template <class T>
  void require(const std::string& key, T& value) {
    if (!read(key, value)) data_error(where_, ": ", key, " is missing");
  }

  /// For what this program can do in one way only.
  template <class T>
  void expect(const std::string& key, const T& only) {
    T value = only;
    if (read(key, value) && value != only) fail(key, *find(key), cat("this version can only do ", only));
  }

  void ignore(std::initializer_list<std::string_view> keys) { known_.insert(keys.begin(), keys.end()); }

  /// @throws Error(data) for a key nobody read: it might change what the model computes
  void finish() const {
    for (const auto& [key, value] : object_.items()) {
      if (!value.is_null() && !known_.contains(key)) {
        data_error(where_, ": key ", key,
                   " is not known, so the model might mean something else than this version "
                   "would compute; remove the key if it has no effect on the model");
      }
    }
  }

  [[noreturn]] void fail(const std::string& key, const Json& found, const std::string& expected) const {
    data_error(where_, ": ", key, " is ", dump_json(found), "; ", expected);
  }

 private:
  void convert(const std::string& key, const Json& found, int64_t& value) const {
    if (!found.is_number_integer()) fail(key, found, "expected an integer");
    const bool too_large = found.is_number_unsigned() && found.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX);
    if (too_large) fail(key, found, "expected an integer below 2^63");
    value = found.get<int64_t>();
  }
  void convert(const std::string& key, const Json& found, double& value) const {
    if (!found.is_number()) fail(key, found, "expected a number");
    value = found.get<double>();
  }
  void convert(const std::string& key, const Json& found, bool& value) const {
    if (!found.is_boolean()) fail(key, found, "expected true or false");
    value = found.get<bool>();
  }
  void convert(const std::string& key, const Json& found, std::string& value) const {
    if (!found.is_string()) fail(key, found, "expected a text");
    value = found.get<std::string>();
  }
  void convert(const std::string& key, const Json& found, std::vector<std::string>& value) const {
    if (!found.is_array()) fail(key, found, "expected a list of texts");
    value.clear();
    for (const Json& item : found) convert(key, item, value.emplace_back());
  }

  const Json& object_;
  std::string where_;
  std::set<std::string, std::less<>> known_;
};

}  // namespace xinslm
