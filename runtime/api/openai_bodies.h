// Bodies of the smaller endpoints: models, and what tokenizers and chat templates make of texts.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "runtime/tokenizer/tokenizer.h"

namespace longspan {

// GET /v1/models and /v1/models/{id}.
struct ModelCard {
  std::string id;
  int64_t created_s = 0;    // Unix time
  int64_t max_context = 0;  // tokens, told as "max_model_len"
};
std::string ModelListBody(std::span<const ModelCard> models);
std::string ModelBody(const ModelCard& model);

// {"tokens", "count", "max_model_len"}, and "token_strs" with `tokenizer` not null.
std::string TokenizeBody(std::span<const int32_t> tokens, int64_t max_context, const Tokenizer* tokenizer);

// {"prompt"}, of /detokenize and /apply-template.
std::string PromptBody(std::string_view prompt);

}  // namespace longspan
