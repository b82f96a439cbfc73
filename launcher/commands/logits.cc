#include "launcher/commands/logits.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "kernels/status_macros.h"
#include "launcher/engine_options.h"
#include "launcher/exit_status.h"
#include "launcher/failure.h"
#include "launcher/group_run.h"
#include "launcher/interrupts.h"
#include "launcher/option_parsers.h"
#include "launcher/text_files.h"
#include "runtime/engine/engine.h"
#include "runtime/model/npy.h"

namespace longspan {
namespace {

struct LogitsOptions {
  ModelOptions model;
  std::string token_ids, output;
};

// Rows go into the file as they come. The first error of the file stops the request.
class RowWriter final : public RequestListener {
 public:
  explicit RowWriter(NpyWriter& file) : file_(file) {}

  void OnLogits(int64_t position, std::span<const float> logits) override {
    if (!status_.ok()) return;
    if (std::all_of(logits.begin(), logits.end(), [](float logit) { return std::isfinite(logit); })) {
      status_ = file_.Write(logits);
    } else {
      status_ = absl::InternalError(
          absl::StrCat("the logits of position ", position,
                       " are not all finite: check the model file, or use a wider activation type"));
    }
  }
  const absl::Status& status() const { return status_; }

 private:
  NpyWriter& file_;
  absl::Status status_;
};

class LogitsProgram final : public GroupProgram {
 public:
  LogitsProgram(LogitsOptions options, const RankEnv& env) : options_(std::move(options)), env_(env) {}

  absl::StatusOr<int64_t> Prepare(const ModelSource& source) override {
    absl::StatusOr<std::vector<int32_t>> ids = ReadTokenIds(options_.token_ids);
    if (!ids.ok()) {
      return options_.token_ids.starts_with("@")
                 ? ids.status()
                 : UsageError(absl::StrCat("--token-ids: ", std::string(ids.status().message())));
    }
    request_.prompt = *std::move(ids);
    request_.max_tokens = 0;
    request_.prompt_logits = true;
    LONGSPAN_RETURN_IF_ERROR(
        CheckRequest(request_, LimitsBeforeLoading(source.config(), options_.model)).status());
    tokens_ = static_cast<int64_t>(request_.prompt.size());
    LONGSPAN_ASSIGN_OR_RETURN(file_, NpyWriter::Create(options_.output, tokens_, source.config().vocab_size));
    return 1;
  }

  absl::StatusOr<int> Drive(const ModelSource& source, Group& group, double) override {
    LONGSPAN_ASSIGN_OR_RETURN(
        const std::unique_ptr<Engine> engine,
        Engine::Create(EngineOptionsFor(source.config(), /*tokenizer=*/nullptr, group, options_.model),
                       &group));
    RowWriter rows(*file_);
    const absl::StatusOr<RequestId> id = engine->Submit(std::move(request_), &rows);
    if (!id.ok()) return Abandon(id.status());
    while (engine->HasWork()) {
      if (PendingInterrupt() != 0 || !rows.status().ok()) {
        engine->Cancel(*id);
        break;
      }
      LONGSPAN_RETURN_IF_ERROR(engine->Step());
    }
    if (PendingInterrupt() != 0) {
      std::remove(options_.output.c_str());
      return 128 + PendingInterrupt();
    }
    if (!rows.status().ok()) return Abandon(rows.status());
    if (const absl::Status status = file_->Finish(); !status.ok()) return Abandon(status);
    std::fprintf(stderr, "longspan: wrote %s: float32 [%lld, %lld]\n", options_.output.c_str(),
                 static_cast<long long>(tokens_), static_cast<long long>(source.config().vocab_size));
    return 0;
  }

 private:
  // Part of a file would be taken for a result.
  int Abandon(const absl::Status& status) const {
    std::remove(options_.output.c_str());
    return ReportFailure(env_, status);
  }

  const LogitsOptions options_;
  const RankEnv env_;
  Request request_;
  int64_t tokens_ = 0;
  std::unique_ptr<NpyWriter> file_;
};

class LogitsCommand final : public Command {
 public:
  void AddOptions(CLI::App& app) override {
    AddOption(app, "--token-ids", "IDS", "1,2,3, or @F with a JSON array or an .npy file (required)",
              Into(&options_.token_ids, NonEmptyText()));
    AddOption(app, "--output", "F.npy", "where to write float32 [tokens, vocabulary] (required)",
              Into(&options_.output, NonEmptyText()));
    AddModelOptions(app, &options_.model);
  }

  absl::Status Check() override {
    LONGSPAN_RETURN_IF_ERROR(CheckModelOptions(options_.model));
    if (options_.token_ids.empty()) return UsageError("--token-ids is missing: 1,2,3, or @FILE");
    if (options_.output.empty()) return UsageError("--output is missing: the .npy file to write");
    return absl::OkStatus();
  }

  absl::StatusOr<int> Run(const RankEnv& env) override {
    LogitsProgram program(options_, env);
    return RunOnGroup(options_.model, env, /*terse=*/true, program);
  }

 private:
  LogitsOptions options_;
};

}  // namespace

std::unique_ptr<Command> NewLogitsCommand() { return std::make_unique<LogitsCommand>(); }

}  // namespace longspan
