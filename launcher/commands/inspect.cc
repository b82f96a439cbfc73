#include "launcher/commands/inspect.h"

#include <cstdint>
#include <optional>
#include <string>

#include "kernels/status_macros.h"
#include "launcher/exit_status.h"
#include "launcher/option_parsers.h"
#include "launcher/text_files.h"
#include "runtime/model/inspect.h"
#include "runtime/model/model_source.h"

namespace longspan {
namespace {

class InspectCommand final : public Command {
 public:
  void AddOptions(CLI::App& app) override {
    AddOption(app, "PATH", "(required)", "GGUF file or Hugging Face folder", Into(&path_, NonEmptyText()));
    AddFlag(app, "--json", "prints one JSON object", &json_);
    AddOption(app, "--memory", "SIZE", "tells the largest context for this much memory, weights included",
              Into(&memory_bytes_, Size()));
  }

  absl::Status Check() override {
    return path_.empty() ? UsageError("nothing to inspect: give a GGUF file or a Hugging Face folder")
                         : absl::OkStatus();
  }

  absl::StatusOr<int> Run(const RankEnv& env) override {
    if (env.rank != 0) return 0;
    LONGSPAN_ASSIGN_OR_RETURN(const std::unique_ptr<ModelSource> source, ModelSource::Open(path_));
    const ModelSummary summary = Summarize(*source);
    LONGSPAN_RETURN_IF_ERROR(
        WriteOutput(json_ ? RenderJson(summary, memory_bytes_) : RenderText(summary, memory_bytes_)));
    return 0;
  }

 private:
  std::string path_;
  bool json_ = false;
  std::optional<int64_t> memory_bytes_;
};

}  // namespace

std::unique_ptr<Command> NewInspectCommand() { return std::make_unique<InspectCommand>(); }

}  // namespace longspan
