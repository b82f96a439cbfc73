#include "runtime/api/openai_bodies.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "runtime/api/json_writer.h"

namespace longspan {

std::string ModelBody(const ModelCard& model) {
  return absl::StrCat("{\"id\":", JsonString(model.id), ",\"object\":\"model\",\"created\":", model.created_s,
                      ",\"owned_by\":\"longspan\",\"max_model_len\":", model.max_context, "}");
}

std::string ModelListBody(std::span<const ModelCard> models) {
  std::string list;
  for (const ModelCard& model : models) absl::StrAppend(&list, list.empty() ? "" : ",", ModelBody(model));
  return absl::StrCat("{\"object\":\"list\",\"data\":[", list, "]}");
}

std::string TokenizeBody(std::span<const int32_t> tokens, int64_t max_context, const Tokenizer* tokenizer) {
  std::string body = absl::StrCat("{\"tokens\":[", absl::StrJoin(tokens, ","), "],\"count\":", tokens.size(),
                                  ",\"max_model_len\":", max_context);
  if (tokenizer != nullptr) {
    body += ",\"token_strs\":[";
    for (size_t i = 0; i < tokens.size(); ++i) {
      if (i > 0) body += ',';
      AppendJsonString(tokenizer->Spelling(tokens[i]), &body);
    }
    body += ']';
  }
  return body + "}";
}

std::string PromptBody(std::string_view prompt) {
  return absl::StrCat("{\"prompt\":", JsonString(prompt), "}");
}

}  // namespace longspan
