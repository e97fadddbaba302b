#include "format/safetensors_types.h"

#include <array>
#include <utility>

namespace xinslm {
namespace {

constexpr std::array<std::pair<std::string_view, at::ScalarType>, 16> types{{
    {"F64", at::kDouble},
    {"F32", at::kFloat},
    {"BF16", at::kBFloat16},
    {"F16", at::kHalf},
    {"I64", at::kLong},
    {"I32", at::kInt},
    {"I16", at::kShort},
    {"I8", at::kChar},
    {"U64", at::kUInt64},
    {"U32", at::kUInt32},
    {"U16", at::kUInt16},
    {"U8", at::kByte},
    {"BOOL", at::kBool},
    {"C64", at::kComplexFloat},
    {"F8_E4M3", at::kFloat8_e4m3fn},
    {"F8_E5M2", at::kFloat8_e5m2},
}};

}  // namespace

std::optional<at::ScalarType> type_of_safetensors_name(std::string_view name) {
  for (const auto& [known, type] : types) {
    if (known == name) return type;
  }
  return std::nullopt;
}

std::string_view safetensors_name_of(at::ScalarType type) {
  for (const auto& [name, known] : types) {
    if (known == type) return name;
  }
  return {};
}

}  // namespace xinslm
