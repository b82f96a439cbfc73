#include "launcher/commands/serve.h"

#include "kernels/status_macros.h"
#include "launcher/commands/serve_program.h"
#include "launcher/exit_status.h"
#include "launcher/group_run.h"
#include "launcher/option_parsers.h"

namespace longspan {
namespace {

class ServeCommand final : public Command {
 public:
  void AddOptions(CLI::App& app) override {
    AddAddress(app);
    AddHttpFrontOptions(app, &options_.http);
    AddServingOptions(app, &options_.serving);
    AddModelOptions(app, &options_.model);
    AddLogFormat(app, &options_.model.log_format);
  }

  absl::Status Check() override {
    LONGSPAN_RETURN_IF_ERROR(CheckModelOptions(options_.model));
    return CheckHttpFront(options_.http);
  }

  absl::StatusOr<int> Run(const RankEnv& env) override {
    const std::unique_ptr<GroupProgram> program = NewServeProgram(options_, env);
    return RunOnGroup(options_.model, env, /*terse=*/false, *program);
  }

 private:
  void AddAddress(CLI::App& app) {
    const std::vector<CLI::Option*> added = {
        AddOption(app, "--host", "NAME", "address to listen on; 0.0.0.0 for all (127.0.0.1)",
                  Into(&options_.http.host, NonEmptyText())),
        AddOption(app, "--port", "N", "port to listen on; 0 for any free one (8000)",
                  Into(&options_.http.port, WholeNumber(0, 65535))),
    };
    SetTitle(added, "Network");
  }

  ServeOptions options_;
};

}  // namespace

std::unique_ptr<Command> NewServeCommand() { return std::make_unique<ServeCommand>(); }

}  // namespace longspan
