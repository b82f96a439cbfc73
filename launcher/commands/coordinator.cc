#include "launcher/commands/coordinator.h"

#include <thread>
#include <utility>

#include <spdlog/spdlog.h>

#include "absl/strings/str_cat.h"
#include "comm/clock.h"
#include "kernels/status_macros.h"
#include "launcher/control_options.h"
#include "launcher/engine_options.h"
#include "launcher/exit_status.h"
#include "launcher/http_front.h"
#include "launcher/interrupts.h"
#include "launcher/logging.h"
#include "launcher/model_texts.h"
#include "launcher/option_parsers.h"
#include "launcher/serving_group.h"
#include "runtime/coordinator/coordinator.h"
#include "runtime/coordinator/group_server.h"

namespace longspan {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kLastAnswers{2000};  // to leave after the last request has ended
constexpr milliseconds kLookEvery{50};

class CoordinatorCommand final : public Command {
 public:
  void AddOptions(CLI::App& app) override {
    AddModelPath(app, &model_.model);
    const std::vector<CLI::Option*> addresses = {
        AddOption(app, "--listen-http", "H:P", "where clients ask (127.0.0.1:8000)",
                  Address(&http_.host, &http_.port)),
        AddOption(app, "--listen-grpc", "H:P", "where groups join, `longspan worker` (127.0.0.1:8001)",
                  Address(&grpc_host_, &grpc_port_)),
    };
    SetTitle(addresses, "Network");
    AddHttpFrontOptions(app, &http_);
    AddControlFiles(app, &control_files_);
    const std::vector<CLI::Option*> limits = {
        AddOption(app, "--max-context", "N", "tokens, prompt plus output (the model's)",
                  Into(&model_.max_context, WholeNumber(1, int64_t{1} << 32))),
        AddOption(app, "--default-max-tokens", "N",
                  "output of a request that names none, capped by the context left (2048)",
                  Into(&model_.default_max_tokens, WholeNumber(1, int64_t{1} << 32))),
        AddOption(app, "--heartbeat-timeout", "TIME",
                  "a group that says nothing for so long is lost; its requests go on elsewhere (3s)",
                  Into(&heartbeat_timeout_s_, Duration())),
        AddOption(app, "--stall-timeout", "TIME", "likewise one that has work and makes no step (60s)",
                  Into(&stall_timeout_s_, Duration())),
    };
    SetTitle(limits, "Service");
    AddLogLevel(app, &model_.log_level);
    AddLogFormat(app, &model_.log_format);
  }

  absl::Status Check() override {
    if (model_.model.empty()) {
      return UsageError("--model is missing: a GGUF file or a Hugging Face folder, the same as the groups'");
    }
    if (heartbeat_timeout_s_ < 0.1) return UsageError("--heartbeat-timeout must be 100ms or more");
    if (stall_timeout_s_ < 0.1) return UsageError("--stall-timeout must be 100ms or more");
    LONGSPAN_RETURN_IF_ERROR(CheckHttpFront(http_));
    return CheckControlFiles(control_files_, grpc_host_, http_.insecure);
  }

  absl::StatusOr<int> Run(const RankEnv& env) override {
    if (env.size > 1) {
      return UsageError("a coordinator is one process: start it without mpirun, and the groups with it");
    }
    SetUpLogging(model_.log_level, model_.log_format, env);
    return Serve();
  }

 private:
  static OptionSetter Address(std::string* host, int64_t* port) {
    return [host, port](std::string_view text) { return ParseHostPort(text, host, port); };
  }

  absl::StatusOr<int> Serve() {
    const SteadyClock clock;
    LONGSPAN_ASSIGN_OR_RETURN(const std::unique_ptr<ModelSource> source, ModelSource::Open(model_.model));
    LONGSPAN_ASSIGN_OR_RETURN(const ModelTexts texts, ModelTexts::Open(*source));
    CoordinatorOptions options = CoordinatorOptionsFor(source->config(), model_);
    LONGSPAN_ASSIGN_OR_RETURN(options.decision_log, OpenDecisionLog(http_));
    options.dispatcher.max_waiting = http_.max_queue;
    options.identity = IdentityOf(*source, texts);
    options.eos_token_ids = texts.eos_token_ids;
    GroupServerOptions groups;
    LONGSPAN_ASSIGN_OR_RETURN(groups.tls, ReadControlTls(control_files_));
    Coordinator coordinator(std::move(options), clock);
    const std::string address = absl::StrCat("--listen-http ", http_.host, ":", http_.port);
    LONGSPAN_ASSIGN_OR_RETURN(std::unique_ptr<ApiServer> server,
                              ListenForHttp(&http_, address, model_.model, clock));

    LogControlErrors();
    groups.address = absl::StrCat(grpc_host_, ":", grpc_port_);
    groups.heartbeat_timeout = FromSeconds(heartbeat_timeout_s_);
    groups.stall_timeout = FromSeconds(stall_timeout_s_);
    LONGSPAN_ASSIGN_OR_RETURN(std::unique_ptr<GroupServer> group_server,
                              GroupServer::Listen(std::move(groups), coordinator, clock));
    ServedModel model = texts.Serve(http_.served_model_name);
    model.coordinator = &coordinator;
    server->SetReady(std::move(model));
    spdlog::info("groups join at {}:{}{}", grpc_host_, group_server->port(),
                 control_files_.ca.empty() ? "" : ", with certificates");

    RememberInterrupts();
    while (PendingInterrupt() == 0) std::this_thread::sleep_for(kLookEvery);
    spdlog::info("draining: no new requests, {} open ones may go on for {} s; a second signal ends at once",
                 coordinator.open(), http_.drain_timeout_s);
    server->SetDraining();
    coordinator.Drain(FromSeconds(http_.drain_timeout_s));
    while (!coordinator.drained()) std::this_thread::sleep_for(kLookEvery);
    server->Finish(kLastAnswers);
    server.reset();
    group_server.reset();
    spdlog::info("ended in order");
    return ExitCodeAfter(PendingInterrupt());
  }

  ModelOptions model_;
  HttpFrontOptions http_;
  std::string grpc_host_ = "127.0.0.1";
  int64_t grpc_port_ = 8001;
  ControlFiles control_files_;
  double heartbeat_timeout_s_ = 3, stall_timeout_s_ = 60;
};

}  // namespace

std::unique_ptr<Command> NewCoordinatorCommand() { return std::make_unique<CoordinatorCommand>(); }

}  // namespace longspan
