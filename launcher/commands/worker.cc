#include "launcher/commands/worker.h"

#include "absl/strings/str_cat.h"
#include "kernels/status_macros.h"
#include "launcher/commands/worker_program.h"
#include "launcher/exit_status.h"
#include "launcher/group_run.h"
#include "launcher/http_front.h"
#include "launcher/option_parsers.h"

namespace longspan {
namespace {

class WorkerCommand final : public Command {
 public:
  void AddOptions(CLI::App& app) override {
    const std::vector<CLI::Option*> network = {
        AddOption(app, "--coordinator", "HOST:PORT", "(required) where it takes groups in, its --listen-grpc",
                  Into(&options_.coordinator, NonEmptyText())),
        AddOption(app, "--ucx-transports", "LIST", "how KV moves between groups, as UCX_TLS (tcp)",
                  Into(&options_.transport.transports, NonEmptyText())),
        AddOption(app, "--ucx-devices", "LIST",
                  "over which network devices, as UCX_NET_DEVICES: eth0, mlx5_0:1 (what UCX finds)",
                  Into(&options_.transport.devices, NonEmptyText())),
        AddInsecure(app, &options_.insecure),
    };
    SetTitle(network, "Network");
    AddControlFiles(app, &options_.control_files);
    const std::vector<CLI::Option*> service = {
        AddOption(app, "--role", "ROLE",
                  "mixed: whole requests; prefill: prompts, for groups that decode (mixed)",
                  Into(&options_.serving.role, OneOf<GroupRole>({{"mixed", GroupRole::kMixed},
                                                                 {"prefill", GroupRole::kPrefill},
                                                                 {"decode", GroupRole::kDecode}}))),
        AddOption(app, "--name", "NAME", "what people call this group (its role and rank 0's host)",
                  Into(&options_.serving.name, NonEmptyText())),
        AddOption(app, "--drain-timeout", "TIME",
                  "at SIGTERM, or under mpirun at SIGUSR1: how long its requests may go on here (30s)",
                  Into(&options_.drain_timeout_s, Duration())),
    };
    SetTitle(service, "Service");
    AddServingOptions(app, &options_.serving);
    AddModelOptions(app, &options_.model);
    AddLogFormat(app, &options_.model.log_format);
  }

  absl::Status Check() override {
    LONGSPAN_RETURN_IF_ERROR(CheckModelOptions(options_.model));
    if (options_.coordinator.empty()) {
      return UsageError("--coordinator is missing: HOST:PORT, the --listen-grpc of a `longspan coordinator`");
    }
    std::string host;
    int64_t port = 0;
    if (const absl::Status status = ParseHostPort(options_.coordinator, &host, &port); !status.ok()) {
      return UsageError(absl::StrCat("--coordinator: ", std::string(status.message())));
    }
    return CheckControlFiles(options_.control_files, host, options_.insecure);
  }

  absl::StatusOr<int> Run(const RankEnv& env) override {
    const std::unique_ptr<GroupProgram> program = NewWorkerProgram(options_, env);
    return RunOnGroup(options_.model, env, /*terse=*/false, *program,
                      [this] { return CreateUcxTransport(options_.transport); });
  }

 private:
  WorkerOptions options_;
};

}  // namespace

std::unique_ptr<Command> NewWorkerCommand() { return std::make_unique<WorkerCommand>(); }

}  // namespace longspan
