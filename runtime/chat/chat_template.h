// Conversations as the prompt that a model was trained on: its own chat template, rendered and encoded.
//
// A conversation is a JSON object as OpenAI's API has it: "messages", perhaps "tools", and anything else that
// the template reads, such as "documents" or "enable_thinking". "add_generation_prompt" is true where it is
// not named.
#pragma once

#include <cstdint>
#include <ctime>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "absl/status/statusor.h"
#include "runtime/jinja/template.h"
#include "runtime/model/model_files.h"
#include "runtime/tokenizer/tokenizer.h"

namespace longspan {

// Threads: immutable; may be used from any thread.
class ChatTemplate {
 public:
  // The model's template; where it has none, a plain one of lines "User: ..." and "Assistant: ...". Errors
  // name the file and the template's line. `tokenizer` must outlive the object.
  static absl::StatusOr<ChatTemplate> Create(const ModelFiles& files, const Tokenizer* tokenizer);

  // Whether the template is the model's own.
  bool from_model() const { return from_model_; }

  // The prompt as text. `now` is local time, for templates that tell the date. Contents in parts of type
  // "text" become one text, and arguments of tool calls that are JSON texts become objects unless the
  // template wants the texts. InvalidArgument names the message that is wrong, or is what the template says
  // of the conversation; other errors are as of jinja::Template::Render.
  absl::StatusOr<std::string> Render(const nlohmann::ordered_json& conversation, const std::tm& now) const;

  // Text from Render as token ids. Special tokens are those that the template wrote; none is added, so that
  // BOS does not come twice.
  absl::StatusOr<std::vector<int32_t>> Encode(std::string_view prompt) const;

 private:
  ChatTemplate(jinja::Template parsed, const Tokenizer* tokenizer, bool from_model);

  jinja::Template template_;
  const Tokenizer* tokenizer_;
  bool from_model_;
  std::string bos_token_, eos_token_;  // empty when there is none
};

}  // namespace longspan
