#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "format/json_fields.h"

namespace xinslm {

/// Token ids as transformers writes them: one, a list of several, or nothing.
inline std::vector<int64_t> read_ids(JsonFields& fields, const std::string& key) {
  const Json* found = fields.find(key);
  if (found == nullptr) return {};
  std::vector<int64_t> ids;
  for (const Json& id : found->is_array() ? *found : Json::array({*found})) {
    const bool fits = id.is_number_unsigned() && id.get<uint64_t>() <= static_cast<uint64_t>(INT64_MAX);
    if (!fits) fields.fail(key, *found, "expected a token id or a list of them");
    ids.push_back(id.get<int64_t>());
  }
  return ids;
}

/// @param ids  at least one
inline Json one_or_list(const std::vector<int64_t>& ids) {
  return ids.size() > 1 ? Json(ids) : Json(ids.front());
}

}  // namespace xinslm
