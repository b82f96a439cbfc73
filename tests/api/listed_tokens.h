// A tokenizer of a few listed tokens.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/tokenizer/tokenizer.h"

namespace longspan {

class ListedTokens final : public Tokenizer {
 public:
  ListedTokens(std::vector<std::string> spellings, std::vector<int32_t> special)
      : spellings_(std::move(spellings)), special_(std::move(special)) {}

  absl::StatusOr<std::vector<int32_t>> Encode(std::string_view, const EncodeOptions&) const override {
    return absl::UnimplementedError("the tests give tokens");
  }
  std::string Decode(std::span<const int32_t> ids) const override {
    std::string text;
    for (const int32_t id : ids) text += TokenBytes(id);
    return text;
  }
  std::string TokenBytes(int32_t id) const override { return IsSpecial(id) ? "" : Spelling(id); }
  bool strips_leading_space() const override { return true; }
  std::string Spelling(int32_t id) const override { return spellings_.at(static_cast<size_t>(id)); }
  bool IsSpecial(int32_t id) const override {
    return std::find(special_.begin(), special_.end(), id) != special_.end();
  }
  int64_t vocab_size() const override { return static_cast<int64_t>(spellings_.size()); }
  std::optional<int32_t> bos_id() const override { return std::nullopt; }
  std::vector<int32_t> eos_ids() const override { return {}; }

 private:
  const std::vector<std::string> spellings_;
  const std::vector<int32_t> special_;
};

}  // namespace longspan
