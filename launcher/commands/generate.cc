#include "launcher/commands/generate.h"

#include <optional>
#include <string>

#include <CLI/CLI.hpp>

#include "kernels/status_macros.h"
#include "launcher/commands/generate_program.h"
#include "launcher/exit_status.h"
#include "launcher/group_run.h"
#include "launcher/option_parsers.h"
#include "runtime/engine/sampler.h"

namespace longspan {
namespace {

class GenerateCommand final : public Command {
 public:
  void AddOptions(CLI::App& app) override {
    CLI::Option* prompt =
        AddOption(app, "--prompt", "TEXT", "text to continue", Into(&options_.prompt, AnyText()));
    CLI::Option* file =
        AddOption(app, "--prompt-file", "F",
                  "a text; or named .jsonl, a request a line: \"prompt\", \"messages\" (with \"tools\") or "
                  "\"token_ids\", and any generation option as a field",
                  Into(&options_.prompt_file, NonEmptyText()));
    CLI::Option* ids = AddOption(app, "--token-ids", "IDS", "1,2,3, or @F with a JSON array or an .npy file",
                                 Into(&options_.token_ids, NonEmptyText()));
    prompt->excludes(file)->excludes(ids);
    file->excludes(ids);
    SetTitle({prompt, file, ids}, "Prompt (one of)");
    AddFlag(app, "--chat", "a text is what a user says: puts it into the model's chat template",
            &options_.chat)
        ->excludes(ids)
        ->group("Prompt (one of)");
    AddSamplingOptions(app, &options_.request);
    AddFlag(app, "--json", "prints one JSON object in place of the text", &options_.json)->group("Output");
    AddFlag(app, "--account", "tells on standard error afterwards what each rank held, sent and took",
            &options_.account)
        ->group("Output");
    AddModelOptions(app, &options_.model);
  }

  absl::Status Check() override {
    LONGSPAN_RETURN_IF_ERROR(CheckModelOptions(options_.model));
    if (!options_.prompt && !options_.prompt_file && !options_.token_ids) {
      return UsageError("nothing to continue: give --prompt TEXT, --prompt-file F or --token-ids 1,2,3");
    }
    const bool is_request_file = options_.prompt_file && options_.prompt_file->ends_with(".jsonl");
    if (options_.request.logprobs && !options_.json && !is_request_file) {
      return UsageError("--logprobs: only objects tell log-probabilities: give --json too");
    }
    SamplingParams sampling = options_.request.sampling;
    sampling.logit_bias.clear();  // ids are checked against the model's vocabulary
    if (const absl::Status status = ValidateSampling(sampling, kMaxVocabSize); !status.ok()) {
      return UsageError(std::string(status.message()));
    }
    return absl::OkStatus();
  }

  absl::StatusOr<int> Run(const RankEnv& env) override {
    const std::unique_ptr<GroupProgram> program = NewGenerateProgram(options_, env);
    return RunOnGroup(options_.model, env, /*terse=*/options_.json, *program);
  }

 private:
  GenerateOptions options_;
};

}  // namespace

std::unique_ptr<Command> NewGenerateCommand() { return std::make_unique<GenerateCommand>(); }

}  // namespace longspan
