// Tokenizers from GGUF metadata (tokenizer.ggml.*): SentencePiece's BPE ("llama") and byte-level BPE
// ("gpt2").
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/model/gguf.h"
#include "runtime/tokenizer/text_tokenizer.h"

namespace longspan {

// The metadata as the file has it. Views must outlive the call that uses them.
struct GgufVocabulary {
  std::string origin;                    // names the file in errors
  std::string_view model;                // "llama", "gpt2"
  std::string_view pre;                  // how "gpt2" cuts a text; empty when the file does not say
  std::vector<std::string_view> tokens;  // by id
  std::vector<double> scores;            // by id; "llama" needs them
  std::vector<int64_t> types;            // by id; empty: all normal
  std::vector<std::string_view> merges;  // "left right", earlier ones first; "gpt2" needs them
  std::optional<int64_t> bos_id;
  std::optional<int64_t> eos_id;
  std::optional<int64_t> eot_id;  // end of turn
  std::optional<int64_t> eom_id;  // end of message
  std::optional<int64_t> unknown_id;
  std::optional<bool> add_bos;
  std::optional<bool> add_eos;
  std::optional<bool> add_space_prefix;
  // Rules of other SentencePiece models (T5's), which are refused.
  bool remove_extra_whitespaces = false;
  bool has_character_map = false;
};

// NotFound when the file holds no tokenizer.
absl::StatusOr<GgufVocabulary> ReadGgufVocabulary(const GgufFile& file);

// Unimplemented, naming the kind, for a model or pre-tokenizer that is not supported.
absl::StatusOr<std::unique_ptr<Tokenizer>> CreateGgufTokenizer(const GgufVocabulary& vocabulary);

}  // namespace longspan
