// What a fuzz target does with a tokenizer that could be made.
#pragma once

#include <numeric>
#include <string_view>
#include <vector>

#include "kernels/check.h"
#include "runtime/tokenizer/tokenizer.h"
#include "runtime/tokenizer/utf8.h"

namespace longspan {

inline void UseTokenizer(const absl::StatusOr<std::unique_ptr<Tokenizer>>& made) {
  if (!made.ok()) {
    LONGSPAN_CHECK(!made.status().message().empty());
    return;
  }
  const Tokenizer& tokenizer = **made;
  for (const bool parse_special : {false, true}) {
    constexpr std::string_view kText =
        "Hello  world's 123\n\tab aaaaaaaa <s>[R]</s> \u2581\u00e9e\u0301 \u65e5\u672c \U0001f600";
    const auto ids = tokenizer.Encode(kText, {.parse_special = parse_special});
    if (!ids.ok()) continue;  // an expression may give up on a text
    for (const int32_t id : *ids) LONGSPAN_CHECK(id >= 0 && id < tokenizer.vocab_size());
    LONGSPAN_CHECK(!FindInvalidUtf8(tokenizer.Decode(*ids)).has_value());
  }
  std::vector<int32_t> all(static_cast<size_t>(tokenizer.vocab_size()));
  std::iota(all.begin(), all.end(), 0);
  LONGSPAN_CHECK(!FindInvalidUtf8(tokenizer.Decode(all)).has_value());
}

}  // namespace longspan
