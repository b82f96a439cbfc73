// What several tokenizer tests check.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "runtime/tokenizer/tokenizer.h"
#include "runtime/tokenizer/utf8.h"

namespace longspan {

// What a StreamDecoder at the start of a text says to `ids`. Fails the test when any of its pieces is not
// UTF-8.
inline std::string Stream(const Tokenizer& tokenizer, std::span<const int32_t> ids) {
  StreamDecoder decoder(tokenizer, /*at_start=*/true);
  std::string text;
  const auto take = [&](const std::string& piece) {
    EXPECT_FALSE(FindInvalidUtf8(piece).has_value()) << "in a piece after '" << text << "'";
    text += piece;
  };
  for (const int32_t id : ids) take(decoder.Append(id));
  take(decoder.Finish());
  return text;
}

}  // namespace longspan
