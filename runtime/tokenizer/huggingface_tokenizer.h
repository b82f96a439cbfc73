// Tokenizers from a Hugging Face folder: tokenizer.json (github.com/huggingface/tokenizers) and, for BOS, EOS
// and what a Llama or Gemma class puts around a text, tokenizer_config.json.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/status/statusor.h"
#include "runtime/tokenizer/tokenizer.h"

namespace longspan {

// NotFound when the folder has no tokenizer.json. A step or setting that is not supported is an Unimplemented
// error that names it.
absl::StatusOr<std::unique_ptr<Tokenizer>> CreateHuggingFaceTokenizer(const std::string& folder);

// The same from parsed files. `origin` names the file in errors; `config` may be null.
absl::StatusOr<std::unique_ptr<Tokenizer>> CreateTokenizerFromJson(const nlohmann::json& tokenizer,
                                                                   const nlohmann::json& config,
                                                                   const std::string& origin);

}  // namespace longspan
