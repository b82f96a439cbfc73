// The one tokenizer: added tokens, then the normaliser, the pre-tokenizer and the model of a vocabulary.
//
// Every kind of tokenizer file is translated into the parts.
// Threads: immutable; may be called from any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/tokenizer/added_tokens.h"
#include "runtime/tokenizer/normalizer.h"
#include "runtime/tokenizer/pre_tokenizer.h"
#include "runtime/tokenizer/token_model.h"
#include "runtime/tokenizer/token_table.h"
#include "runtime/tokenizer/tokenizer.h"

namespace longspan {

struct TokenizerParts {
  TokenTable tokens{0, 0};
  std::unique_ptr<TokenModel> model;  // may hold views into `tokens`
  AddedTokens added;                  // found in the text as it is given
  AddedTokens added_normalized;       // found in the text between those, once normalised
  Normalizer normalizer;              // applied to each stretch between added tokens
  PreTokenizer pre_tokenizer;
  std::vector<int32_t> prefix;  // around every text that asks for special tokens
  std::vector<int32_t> suffix;
  bool strips_leading_space = false;
  std::optional<int32_t> bos_id;
  std::vector<int32_t> eos_ids;
};

class TextTokenizer : public Tokenizer {
 public:
  explicit TextTokenizer(TokenizerParts parts) : parts_(std::move(parts)) {}

  // A text that is not UTF-8, or longer than 2 GiB, is an InvalidArgument error.
  absl::StatusOr<std::vector<int32_t>> Encode(std::string_view text,
                                              const EncodeOptions& options) const override;
  std::string Decode(std::span<const int32_t> ids) const override;
  std::string TokenBytes(int32_t id) const override { return std::string(parts_.tokens.Bytes(id)); }
  std::string Spelling(int32_t id) const override { return std::string(parts_.tokens.Spelling(id)); }
  bool strips_leading_space() const override { return parts_.strips_leading_space; }
  bool IsSpecial(int32_t id) const override { return parts_.tokens.IsSpecial(id); }
  int64_t vocab_size() const override { return parts_.tokens.size(); }
  std::optional<int32_t> bos_id() const override { return parts_.bos_id; }
  std::vector<int32_t> eos_ids() const override { return parts_.eos_ids; }

 private:
  absl::Status EncodeStretch(std::string_view text, bool at_text_start, bool parse_special,
                             std::vector<int32_t>* ids) const;

  TokenizerParts parts_;
};

}  // namespace longspan
