#include "runtime/api/openai_response.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "runtime/api/json_writer.h"
#include "runtime/api/openai_choice.h"

namespace longspan {
namespace {

std::string UsageJson(const Usage& usage) {
  return absl::StrCat("{\"prompt_tokens\":", usage.prompt_tokens,
                      ",\"completion_tokens\":", usage.completion_tokens,
                      ",\"total_tokens\":", usage.prompt_tokens + usage.completion_tokens,
                      ",\"prompt_tokens_details\":{\"cached_tokens\":", usage.cached_tokens, "}}");
}

ChoiceOptions MakeChoiceOptions(const CompletionCall& call, const ResponseContext& context) {
  ChoiceOptions options;
  options.chat = call.chat;
  options.stream = call.stream;
  options.logprobs = call.logprobs.has_value();
  options.token_ids = call.return_token_ids;
  options.tokenizer = context.tokenizer;
  options.id = context.id;
  if (call.tools.choice != ToolUse::Choice::kNone) {
    ToolCallParserOptions& tools = options.tools.emplace();
    tools.format = context.tool_call_format;
    tools.parallel = call.tools.parallel;
    for (const ToolUse::Function& function : call.tools.functions) tools.names.push_back(function.name);
  }
  return options;
}

// What stands around the choices of every chunk, or of the body.
std::string Head(const CompletionCall& call, const ResponseContext& context) {
  const char* const chat_object = call.stream ? "chat.completion.chunk" : "chat.completion";
  return absl::StrCat(call.stream ? "data: " : "", "{\"id\":", JsonString(context.id), ",\"object\":\"",
                      call.chat ? chat_object : "text_completion", "\",\"created\":", context.created_s,
                      ",\"model\":", JsonString(context.model), ",\"system_fingerprint\":",
                      context.system_fingerprint.empty() ? "null" : JsonString(context.system_fingerprint),
                      ",\"choices\":[");
}

}  // namespace

class CompletionResponse::Impl {
 public:
  Impl(const CompletionCall& call, const ResponseContext& context)
      : options_(MakeChoiceOptions(call, context)),
        include_usage_(call.include_usage),
        head_(Head(call, context)) {
    choices_.reserve(static_cast<size_t>(call.choices()));
    for (int i = 0; i < call.choices(); ++i) choices_.push_back(std::make_unique<Choice>(&options_, i));
  }

  bool stream() const { return options_.stream; }
  Choice& choice(int index) { return *choices_.at(static_cast<size_t>(index)); }
  size_t size() const { return choices_.size(); }

  std::string Events(Choice& choice) const {
    std::string events;
    for (const std::string& chunk : choice.TakeChunks()) {
      absl::StrAppend(&events, head_, chunk, include_usage_ ? "],\"usage\":null}\n\n" : "]}\n\n");
    }
    return events;
  }

  std::string End(const Usage& usage) {
    if (stream()) {
      const std::string chunk =
          include_usage_ ? absl::StrCat(head_, "],\"usage\":", UsageJson(usage), "}\n\n") : "";
      return chunk + "data: [DONE]\n\n";
    }
    std::string body = head_;
    for (size_t i = 0; i < choices_.size(); ++i) {
      if (i > 0) body += ',';
      body += choices_[i]->Whole();
    }
    absl::StrAppend(&body, "],\"usage\":", UsageJson(usage), "}");
    return body;
  }

 private:
  const ChoiceOptions options_;
  const bool include_usage_;
  const std::string head_;
  std::vector<std::unique_ptr<Choice>> choices_;
};

CompletionResponse::CompletionResponse(const CompletionCall& call, const ResponseContext& context)
    : impl_(std::make_unique<Impl>(call, context)) {}

CompletionResponse::~CompletionResponse() = default;

std::string CompletionResponse::Begin() {
  std::string events;
  for (size_t i = 0; impl_->stream() && i < impl_->size(); ++i) {
    Choice& choice = impl_->choice(static_cast<int>(i));
    choice.Begin();
    events += impl_->Events(choice);
  }
  return events;
}

std::string CompletionResponse::OnPrompt(int choice, std::string_view text, std::span<const int32_t> tokens,
                                         std::span<const PositionLogprobs> logprobs) {
  impl_->choice(choice).OnPrompt(text, tokens, logprobs);
  return impl_->Events(impl_->choice(choice));
}

std::string CompletionResponse::OnText(int choice, std::string_view text, std::span<const int32_t> tokens,
                                       std::span<const PositionLogprobs> logprobs) {
  impl_->choice(choice).OnText(text, tokens, logprobs);
  return impl_->Events(impl_->choice(choice));
}

std::string CompletionResponse::OnFinish(int choice, FinishReason reason) {
  impl_->choice(choice).OnFinish(reason);
  return impl_->Events(impl_->choice(choice));
}

std::string CompletionResponse::End(const Usage& usage) { return impl_->End(usage); }

}  // namespace longspan
