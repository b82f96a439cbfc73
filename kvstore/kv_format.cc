#include "kvstore/kv_format.h"

#include <array>
#include <numeric>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "kernels/check.h"

namespace longspan {
namespace {

constexpr std::array<std::pair<std::string_view, DType>, 2> kFormats = {{
    {"f32", DType::kF32},
    {"bf16", DType::kBF16},
}};

}  // namespace

absl::StatusOr<DType> ParseKvDType(std::string_view name) {
  for (const auto& [known, dtype] : kFormats) {
    if (known == name) return dtype;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("unknown KV type '", std::string(name), "': use f32 or bf16"));
}

std::string_view KvDTypeName(DType dtype) {
  for (const auto& [name, known] : kFormats) {
    if (known == dtype) return name;
  }
  LONGSPAN_CHECK(!"a type that KV is never stored in");
  return {};
}

int LayersPerPage(std::span<const int> layer_counts) {
  int divisor = 0;
  for (const int count : layer_counts) {
    LONGSPAN_CHECK(count >= 1);
    divisor = std::gcd(divisor, count);
  }
  LONGSPAN_CHECK(divisor >= 1);
  return divisor;
}

}  // namespace longspan
