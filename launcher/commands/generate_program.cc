#include "launcher/commands/generate_program.h"

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <utility>
#include <vector>

#include <spdlog/spdlog.h>

#include "absl/strings/str_cat.h"
#include "comm/clock.h"
#include "kernels/status_macros.h"
#include "launcher/engine_options.h"
#include "launcher/exit_status.h"
#include "launcher/failure.h"
#include "launcher/generation_report.h"
#include "launcher/interrupts.h"
#include "launcher/text_files.h"
#include "runtime/chat/chat_template.h"
#include "runtime/engine/engine.h"
#include "runtime/generation/generation.h"
#include "runtime/tokenizer/tokenizer.h"

namespace longspan {
namespace {

constexpr int64_t kMaxSequences = 64;       // of a file's requests at once
constexpr int64_t kDefaultMaxTokens = 128;  // of this command

class GenerateProgram final : public GroupProgram {
 public:
  GenerateProgram(GenerateOptions options, const RankEnv& env) : options_(std::move(options)), env_(env) {
    if (!options_.model.default_max_tokens) options_.model.default_max_tokens = kDefaultMaxTokens;
    streams_ = !options_.json && !IsRequestFile();
  }

  absl::StatusOr<int64_t> Prepare(const ModelSource& source) override;
  absl::StatusOr<int> Drive(const ModelSource& source, Group& group, double load_s) override;

 private:
  // A request and what became of it: `generation` once it was submitted, else `refusal`.
  struct Item {
    GenerationRequest asked;
    Request request;
    std::unique_ptr<Generation> generation;
    RequestId id = 0;
    absl::Status refusal;
    bool done() const { return generation == nullptr || generation->finished(); }
  };

  bool IsRequestFile() const { return options_.prompt_file && options_.prompt_file->ends_with(".jsonl"); }
  absl::StatusOr<std::vector<GenerationRequest>> ReadRequests() const;
  absl::Status CreateTokenizer(const ModelSource& source, const std::vector<GenerationRequest>& requests);
  absl::Status CreateChatTemplate(const ModelSource& source, const std::vector<GenerationRequest>& requests);
  void Submit(Engine& engine, const std::vector<int32_t>& eos_token_ids);
  // Steps until all is done or somebody interrupts; an error means that the group is unusable.
  absl::Status RunSteps(Engine& engine, Group& group, double load_s);
  void CancelAll(Engine& engine);
  absl::Status PrintFinished(Group& group, double load_s);
  void Print(std::string_view text);
  void SampleKvUse(const BlockManager& blocks);
  absl::Status PrintAccount(Group& group, const Engine& engine);
  int Conclude() const;

  GenerateOptions options_;
  const RankEnv env_;
  bool streams_ = false;  // text as it comes, in place of objects
  const SteadyClock clock_;
  std::unique_ptr<Tokenizer> tokenizer_;  // null when the model has none that we know
  std::optional<ChatTemplate> chat_;      // when there is a conversation
  std::vector<Item> items_;
  size_t printed_ = 0;               // items whose objects are out
  absl::Status output_;              // the first error of standard output
  std::vector<int64_t> pages_used_;  // [kvp], the most at any moment
  std::optional<GroupReport> after_first_token_;
};

absl::StatusOr<std::vector<GenerationRequest>> GenerateProgram::ReadRequests() const {
  GenerationRequest request = options_.request;
  if (options_.token_ids) {
    absl::StatusOr<std::vector<int32_t>> ids = ReadTokenIds(*options_.token_ids);
    if (!ids.ok()) {
      return options_.token_ids->starts_with("@")
                 ? ids.status()
                 : UsageError(absl::StrCat("--token-ids: ", std::string(ids.status().message())));
    }
    request.token_ids = *std::move(ids);
  } else if (options_.prompt) {
    request.prompt = options_.prompt;
  } else {
    LONGSPAN_ASSIGN_OR_RETURN(std::string text, ReadTextFile(*options_.prompt_file));
    if (IsRequestFile()) {
      LONGSPAN_ASSIGN_OR_RETURN(std::vector<GenerationRequest> requests,
                                ParseRequestLines(text, *options_.prompt_file, request));
      for (GenerationRequest& line : requests) {
        if (options_.chat && line.prompt) AskAsUser(&line);
      }
      return requests;
    }
    request.prompt = std::move(text);
  }
  if (options_.chat) AskAsUser(&request);
  return std::vector<GenerationRequest>{std::move(request)};
}

absl::Status GenerateProgram::CreateTokenizer(const ModelSource& source,
                                              const std::vector<GenerationRequest>& requests) {
  absl::StatusOr<std::unique_ptr<Tokenizer>> tokenizer = Tokenizer::Create(source);
  if (tokenizer.ok()) {
    tokenizer_ = *std::move(tokenizer);
    return absl::OkStatus();
  }
  const bool needed = std::any_of(requests.begin(), requests.end(), [](const GenerationRequest& request) {
    return request.prompt.has_value() || request.conversation.has_value() || !request.stop.empty();
  });
  const std::string reason(tokenizer.status().message());
  if (needed)
    return absl::FailedPreconditionError(absl::StrCat(reason, "; without it use --token-ids, and no --stop"));
  spdlog::info("prints token ids in place of text: {}", reason);
  return absl::OkStatus();
}

absl::Status GenerateProgram::CreateChatTemplate(const ModelSource& source,
                                                 const std::vector<GenerationRequest>& requests) {
  const bool needed = std::any_of(requests.begin(), requests.end(), [](const GenerationRequest& request) {
    return request.conversation.has_value();
  });
  if (!needed) return absl::OkStatus();
  LONGSPAN_ASSIGN_OR_RETURN(chat_, ChatTemplate::Create(source, tokenizer_.get()));
  if (!chat_->from_model()) {
    spdlog::warn(
        "the model brings no chat template, so it may not have learned to answer: the conversation is "
        "written as plain "
        "lines, \"User: ...\" and \"Assistant: ...\"");
  }
  return absl::OkStatus();
}

absl::StatusOr<int64_t> GenerateProgram::Prepare(const ModelSource& source) {
  LONGSPAN_ASSIGN_OR_RETURN(std::vector<GenerationRequest> requests, ReadRequests());
  LONGSPAN_RETURN_IF_ERROR(CreateTokenizer(source, requests));
  LONGSPAN_RETURN_IF_ERROR(CreateChatTemplate(source, requests));
  const std::time_t time = std::time(nullptr);
  std::tm now{};
  localtime_r(&time, &now);
  for (GenerationRequest& asked : requests) {
    absl::StatusOr<Request> request =
        ToEngineRequest(asked, tokenizer_.get(), chat_.has_value() ? &*chat_ : nullptr, now);
    Item& item = items_.emplace_back();
    item.asked = std::move(asked);
    if (request.ok()) {
      item.request = *std::move(request);
    } else if (IsRequestFile()) {
      item.refusal = request.status();
    } else {
      return request.status();
    }
  }
  // A file's requests are refused one by one, later.
  if (!IsRequestFile()) {
    LONGSPAN_RETURN_IF_ERROR(
        CheckRequest(items_[0].request, LimitsBeforeLoading(source.config(), options_.model)).status());
  }
  return std::min<int64_t>(kMaxSequences, static_cast<int64_t>(items_.size()));
}

void GenerateProgram::Submit(Engine& engine, const std::vector<int32_t>& eos_token_ids) {
  for (Item& item : items_) {
    if (!item.refusal.ok()) continue;
    GenerationOptions generation;
    generation.prompt = item.request.prompt;
    generation.stop = item.asked.stop;
    if (!item.request.ignore_eos) generation.eos_token_ids = eos_token_ids;
    generation.digest = !streams_;
    if (item.asked.logprobs) generation.logprobs = static_cast<size_t>(*item.asked.logprobs);
    if (streams_) generation.on_text = [this](std::string_view text) { Print(text); };
    if (options_.account) generation.on_token = [this, &engine] { SampleKvUse(engine.blocks()); };
    item.generation = std::make_unique<Generation>(std::move(generation), tokenizer_.get(), clock_);
    const absl::StatusOr<RequestId> id = engine.Submit(std::move(item.request), item.generation.get());
    if (id.ok()) {
      item.id = *id;
    } else {
      item.generation.reset();
      item.refusal = id.status();
    }
  }
}

void GenerateProgram::CancelAll(Engine& engine) {
  for (const Item& item : items_) {
    if (item.generation != nullptr) engine.Cancel(item.id);
  }
}

absl::Status GenerateProgram::RunSteps(Engine& engine, Group& group, double load_s) {
  while (engine.HasWork()) {
    if (PendingInterrupt() != 0 || !output_.ok()) {
      CancelAll(engine);
      break;
    }
    LONGSPAN_RETURN_IF_ERROR(engine.Step());
    const bool first_token = items_.size() == 1 && items_[0].generation->tokens().size() == 1;
    if (options_.account && first_token && !after_first_token_) {
      LONGSPAN_ASSIGN_OR_RETURN(after_first_token_, group.Report());
    }
    LONGSPAN_RETURN_IF_ERROR(PrintFinished(group, load_s));
  }
  return PrintFinished(group, load_s);
}

absl::StatusOr<int> GenerateProgram::Drive(const ModelSource& source, Group& group, double load_s) {
  EngineOptions engine_options = EngineOptionsFor(source.config(), tokenizer_.get(), group, options_.model);
  engine_options.max_waiting = static_cast<int>(items_.size());
  const std::vector<int32_t> eos_token_ids = engine_options.eos_token_ids;
  LONGSPAN_ASSIGN_OR_RETURN(const std::unique_ptr<Engine> engine, Engine::Create(engine_options, &group));
  Submit(*engine, eos_token_ids);
  LONGSPAN_RETURN_IF_ERROR(RunSteps(*engine, group, load_s));
  if (streams_ && items_[0].generation != nullptr) Print("\n");
  if (options_.account) LONGSPAN_RETURN_IF_ERROR(PrintAccount(group, *engine));
  return Conclude();
}

absl::Status GenerateProgram::PrintFinished(Group& group, double load_s) {
  if (streams_) return absl::OkStatus();
  while (printed_ < items_.size() && items_[printed_].done()) {
    const Item& item = items_[printed_++];
    if (item.generation != nullptr) {
      LONGSPAN_ASSIGN_OR_RETURN(const GroupReport report, group.Report());
      Print(RenderJson(*item.generation, load_s, report));
    } else if (items_.size() > 1) {
      Print(RenderRefusal(std::string(item.refusal.message()), static_cast<int64_t>(printed_)));
    }
  }
  return absl::OkStatus();
}

void GenerateProgram::Print(std::string_view text) {
  if (output_.ok()) output_ = WriteOutput(text);
}

void GenerateProgram::SampleKvUse(const BlockManager& blocks) {
  pages_used_.resize(static_cast<size_t>(blocks.geometry().kvp));
  for (size_t k = 0; k < pages_used_.size(); ++k) {
    pages_used_[k] = std::max(pages_used_[k], blocks.in_use(static_cast<int>(k)));
  }
}

absl::Status GenerateProgram::PrintAccount(Group& group, const Engine& engine) {
  Account account;
  LONGSPAN_ASSIGN_OR_RETURN(account.group, group.Report());
  account.numerics = group.options().numerics;
  pages_used_.resize(static_cast<size_t>(account.group.kvp));
  for (size_t k = 0; k < pages_used_.size(); ++k) {
    const int64_t capacity = engine.blocks().reservations().capacity(static_cast<int>(k));
    account.kv_bytes_used.push_back(account.group.kv_bytes[k] / static_cast<uint64_t>(capacity) *
                                    static_cast<uint64_t>(pages_used_[k]));
  }
  std::optional<double> first_s, last_s;
  for (const Item& item : items_) {
    if (item.generation == nullptr) continue;
    account.prompt_tokens += static_cast<int64_t>(item.generation->prompt().size());
    account.generated_tokens += static_cast<int64_t>(item.generation->tokens().size());
    if (const auto s = item.generation->first_token_s()) first_s = std::min(first_s.value_or(*s), *s);
    if (const auto s = item.generation->last_token_s()) last_s = std::max(last_s.value_or(*s), *s);
  }
  if (!first_s) return absl::OkStatus();
  account.first_token_s = *first_s;
  account.decode_s = *last_s - *first_s;
  account.decoded_tokens = account.generated_tokens - 1;
  if (after_first_token_) {
    account.comm_tokens = account.decoded_tokens;
    for (size_t r = 0; r < account.group.comm_bytes.size(); ++r) {
      account.comm_bytes += account.group.comm_bytes[r] - after_first_token_->comm_bytes[r];
      account.comm_operations += account.group.comm_operations[r] - after_first_token_->comm_operations[r];
    }
  }
  std::fputs(RenderAccount(account).c_str(), stderr);
  return absl::OkStatus();
}

int GenerateProgram::Conclude() const {
  if (!output_.ok()) return ReportFailure(env_, output_);
  int64_t refused = 0, broken = 0;
  for (const Item& item : items_) {
    if (item.generation == nullptr) {
      ++refused;
    } else if (item.generation->reason() == FinishReason::kError) {
      ++broken;
    }
  }
  if (items_.size() == 1 && refused == 1) return ReportFailure(env_, items_[0].refusal);
  if (refused > 0 || broken > 0) {
    return ReportFailure(env_, absl::InternalError(absl::StrCat(
                                   refused, " of ", items_.size(), " requests were refused and ", broken,
                                   " ended with an error; see their output and the log")));
  }
  return PendingInterrupt() == 0 ? 0 : 128 + PendingInterrupt();
}

}  // namespace

std::unique_ptr<GroupProgram> NewGenerateProgram(GenerateOptions options, const RankEnv& env) {
  return std::make_unique<GenerateProgram>(std::move(options), env);
}

}  // namespace longspan
