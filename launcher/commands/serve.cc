#include "launcher/commands/serve.h"

#include "kernels/status_macros.h"
#include "launcher/commands/serve_program.h"
#include "launcher/exit_status.h"
#include "launcher/group_run.h"
#include "launcher/option_parsers.h"

namespace longspan {
namespace {

constexpr int64_t kMostRequests = 1 << 20;

class ServeCommand final : public Command {
 public:
  void AddOptions(CLI::App& app) override {
    AddNetworkOptions(app);
    AddServiceOptions(app);
    AddModelOptions(app, &options_.model);
    AddLogFormat(app, &options_.model.log_format);
  }

  absl::Status Check() override {
    LONGSPAN_RETURN_IF_ERROR(CheckModelOptions(options_.model));
    if (options_.tls_cert.empty() != options_.tls_key.empty()) {
      return UsageError(options_.tls_cert.empty() ? "--tls-key needs --tls-cert beside it"
                                                  : "--tls-cert needs --tls-key beside it");
    }
    return absl::OkStatus();
  }

  absl::StatusOr<int> Run(const RankEnv& env) override {
    const std::unique_ptr<GroupProgram> program = NewServeProgram(options_, env);
    return RunOnGroup(options_.model, env, /*terse=*/false, *program);
  }

 private:
  void AddNetworkOptions(CLI::App& app) {
    const std::vector<CLI::Option*> added = {
        AddOption(app, "--host", "NAME", "address to listen on; 0.0.0.0 for all (127.0.0.1)",
                  Into(&options_.host, NonEmptyText())),
        AddOption(app, "--port", "N", "port to listen on; 0 for any free one (8000)",
                  Into(&options_.port, WholeNumber(0, 65535))),
        AddOption(app, "--api-key-file", "F",
                  "only for these keys: on each line the SHA-256 of one, as `printf %s \"$KEY\" | sha256sum` "
                  "prints it",
                  Into(&options_.api_key_file, NonEmptyText())),
        AddOption(app, "--tls-cert", "F", "HTTPS with this certificate chain (PEM)",
                  Into(&options_.tls_cert, NonEmptyText())),
        AddOption(app, "--tls-key", "F", "the certificate's private key (PEM)",
                  Into(&options_.tls_key, NonEmptyText())),
    };
    for (CLI::Option* option : added) option->group("Network");
  }

  void AddServiceOptions(CLI::App& app) {
    const std::vector<CLI::Option*> added = {
        AddOption(app, "--served-model-name", "NAME", "what requests call the model (the file's name)",
                  Into(&options_.served_model_name, NonEmptyText())),
        AddOption(app, "--max-sequences", "N", "requests that run at once at most (64)",
                  Into(&options_.max_sequences, WholeNumber(1, 4096))),
        AddOption(app, "--max-queue", "N",
                  "requests that wait at most; more are told to come back, 429 (256)",
                  Into(&options_.max_queue, WholeNumber(1, kMostRequests))),
        AddOption(
            app, "--itl-target", "TIME",
            "gap between a stream's tokens that prompts of others may cause (auto: from what a step costs)",
            Into(&options_.itl_target_s, DurationOrAuto())),
        AddOption(app, "--drain-timeout", "TIME",
                  "at SIGTERM, or under mpirun at SIGUSR1: how long open requests may go on (30s)",
                  Into(&options_.drain_timeout_s, Duration())),
    };
    for (CLI::Option* option : added) option->group("Service");
  }

  static ValueParser<std::optional<double>> DurationOrAuto() {
    return [duration = Duration()](std::string_view text) -> absl::StatusOr<std::optional<double>> {
      if (text == "auto") return std::optional<double>();
      LONGSPAN_ASSIGN_OR_RETURN(const double seconds, duration(text));
      return std::optional<double>(seconds);
    };
  }

  ServeOptions options_;
};

}  // namespace

std::unique_ptr<Command> NewServeCommand() { return std::make_unique<ServeCommand>(); }

}  // namespace longspan
