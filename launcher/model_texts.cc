#include "launcher/model_texts.h"

#include <filesystem>
#include <utility>

#include <spdlog/spdlog.h>
#include <xxhash.h>

#include "absl/strings/str_format.h"
#include "kernels/status_macros.h"
#include "launcher/engine_options.h"
#include "runtime/api/tool_call_prompt.h"

namespace longspan {
namespace {

std::string FingerprintOf(const Tokenizer& tokenizer) {
  std::string spellings;
  for (int64_t id = 0; id < tokenizer.vocab_size(); ++id) {
    spellings += tokenizer.Spelling(static_cast<int32_t>(id));
    spellings += '\0';
  }
  const XXH128_hash_t hash = XXH3_128bits(spellings.data(), spellings.size());
  return absl::StrFormat("%016x%016x", hash.high64, hash.low64);
}

}  // namespace

absl::StatusOr<ModelTexts> ModelTexts::Open(const ModelSource& source) {
  ModelTexts texts;
  absl::StatusOr<std::unique_ptr<Tokenizer>> tokenizer = Tokenizer::Create(source);
  if (tokenizer.ok()) {
    texts.tokenizer = *std::move(tokenizer);
    texts.fingerprint = FingerprintOf(*texts.tokenizer);
    LONGSPAN_ASSIGN_OR_RETURN(texts.chat, ChatTemplate::Create(source, texts.tokenizer.get()));
    if (!texts.chat->from_model()) {
      spdlog::warn(
          "the model brings no chat template, so it may not have learned to answer: conversations are "
          "written "
          "as plain lines, \"User: ...\" and \"Assistant: ...\"");
    }
  } else {
    spdlog::warn("prompts have to be token ids, and answers are token ids: {}",
                 std::string(tokenizer.status().message()));
  }
  texts.eos_token_ids = EosTokenIds(source.config(), texts.tokenizer.get());
  if (source.ChatTemplate()) {
    texts.tool_call_format = DetectToolCallFormat(*source.ChatTemplate());
    texts.template_knows_tools = TemplateKnowsTools(*source.ChatTemplate());
  }
  if (texts.tokenizer != nullptr)
    texts.tool_call_tokens = ToolCallTokens(texts.tool_call_format, *texts.tokenizer);
  texts.grammars =
      std::make_shared<AnswerGrammars>(texts.tokenizer.get(), source.config().vocab_size, texts.eos_token_ids,
                                       texts.tool_call_format, texts.tool_call_tokens);
  return texts;
}

ServedModel ModelTexts::Serve(std::string name) const {
  ServedModel model;
  model.name = std::move(name);
  model.tokenizer = tokenizer.get();
  model.chat = chat ? &*chat : nullptr;
  model.eos_token_ids = eos_token_ids;
  model.tool_call_format = tool_call_format;
  model.tool_call_tokens = tool_call_tokens;
  model.template_knows_tools = template_knows_tools;
  model.grammars = grammars;
  return model;
}

std::string ModelNameOf(const std::string& path) {
  std::filesystem::path name = std::filesystem::path(path).lexically_normal();
  if (!name.has_filename()) name = name.parent_path();
  return name.extension() == ".gguf" ? name.stem().string() : name.filename().string();
}

}  // namespace longspan
