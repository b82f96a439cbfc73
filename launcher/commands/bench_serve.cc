#include "launcher/commands/bench_serve.h"

#include <cstdio>
#include <limits>
#include <optional>
#include <string>
#include <utility>

#include <CLI/CLI.hpp>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "kernels/status_macros.h"
#include "launcher/exit_status.h"
#include "launcher/interrupts.h"
#include "launcher/load/http_client.h"
#include "launcher/load/load_run.h"
#include "launcher/load/prompts.h"
#include "launcher/load/report.h"
#include "launcher/load/report_formats.h"
#include "launcher/load/report_plot.h"
#include "launcher/load/request_format.h"
#include "launcher/load/run_progress.h"
#include "launcher/load/server_probe.h"
#include "launcher/load/workload.h"
#include "launcher/option_parsers.h"
#include "launcher/text_files.h"

namespace longspan {
namespace {

constexpr int64_t kMaxUsers = 100'000;
constexpr std::chrono::milliseconds kPollInterval{100};

ValueParser<double> PositiveNumber() {
  return [](std::string_view text) -> absl::StatusOr<double> {
    absl::StatusOr<double> value = RealNumber()(text);
    if (value.ok() && *value > 0) return value;
    return absl::InvalidArgumentError(absl::StrCat("'", std::string(text), "' is not a number above 0"));
  };
}

ValueParser<double> PositiveDuration() {
  return [](std::string_view text) -> absl::StatusOr<double> {
    absl::StatusOr<double> value = Duration()(text);
    if (!value.ok() || *value > 0) return value;
    return absl::InvalidArgumentError("it must be above 0");
  };
}

// Functions as parsers: their parameters tell what they make.
template <typename T>
ValueParser<T> Parser(absl::StatusOr<T> (*parse)(std::string_view)) {
  return parse;
}

class BenchServeCommand final : public Command {
 public:
  BenchServeCommand() { probe_.url = load::ParseUrl("http://127.0.0.1:8000").value(); }

  void AddOptions(CLI::App& app) override {
    AddServerOptions(app);
    AddLoadOptions(app);
    AddRequestOptions(app);
    AddReportOptions(app);
  }

  absl::Status Check() override {
    if (!trace_ && !rate_ && !users_) {
      return UsageError("no load: give --rate R, --concurrency C or --trace FILE");
    }
    const absl::StatusOr<load::RequestFormat> format = load::RequestFormat::Create(
        probe_.endpoint, probe_.model, probe_.extra_body, load::Prompts::OfText({}, probe_.seed));
    if (!format.ok()) {
      return UsageError(absl::StrCat("--extra-body: ", std::string(format.status().message())));
    }
    if (trace_) return absl::OkStatus();
    if (scale_time_ || scale_lengths_) {
      return UsageError("--scale-time and --scale-lengths need --trace FILE");
    }
    if (!input_ || !output_) return UsageError("--input-tokens and --output-tokens are needed: give both");
    if (!requests_ && !duration_s_) return UsageError("no end: give --requests N, --duration S or both");
    return absl::OkStatus();
  }

  absl::StatusOr<int> Run(const RankEnv& env) override {
    if (env.rank != 0) return 0;
    LONGSPAN_ASSIGN_OR_RETURN(load::WorkloadOptions workload, MakeWorkload());
    LONGSPAN_ASSIGN_OR_RETURN(const std::unique_ptr<load::HttpClient> client, Connect());
    for (const auto& path : {json_path_, csv_path_, plot_path_}) {
      if (path) LONGSPAN_RETURN_IF_ERROR(WriteTextFile(*path, ""));
    }
    LONGSPAN_ASSIGN_OR_RETURN(load::ServerInfo server, load::ProbeServer(*client, probe_));
    if (!server.warning.empty()) std::fprintf(stderr, "longspan: %s\n", server.warning.c_str());

    const load::RunDescription description = Describe(server);
    const load::LoadResult result = Drive(*client, std::move(workload), std::move(server.format));
    const load::Report report = load::MakeReport(result, description);
    LONGSPAN_RETURN_IF_ERROR(WriteOutput(load::ReportTable(report)));
    if (json_path_) LONGSPAN_RETURN_IF_ERROR(WriteTextFile(*json_path_, load::ReportJson(report)));
    if (csv_path_) {
      LONGSPAN_RETURN_IF_ERROR(WriteTextFile(*csv_path_, load::RecordsCsv(result.records, slo_)));
    }
    if (plot_path_) {
      LONGSPAN_RETURN_IF_ERROR(WriteTextFile(*plot_path_, load::ReportPlot(report, result.records)));
    }
    if (PendingInterrupt() != 0) return 128 + PendingInterrupt();
    if (report.completed == 0) {
      return absl::UnavailableError(absl::StrCat("no request was completed by ", probe_.url.ToString()));
    }
    return 0;
  }

 private:
  void AddServerOptions(CLI::App& app) {
    const std::string group = "Server";
    AddOption(app, "--url", "URL", "the server's address (http://127.0.0.1:8000)",
              Into(&probe_.url, Parser(load::ParseUrl)))
        ->group(group);
    AddOption(app, "--model", "NAME", "as the server lists it (the first that it lists)",
              Into(&probe_.model, NonEmptyText()))
        ->group(group);
    AddOption(app, "--endpoint", "E", "completions or chat (completions)",
              Into(&probe_.endpoint, OneOf<load::Endpoint>({{"completions", load::Endpoint::kCompletions},
                                                            {"chat", load::Endpoint::kChat}})))
        ->group(group);
    AddOption(app, "--api-key-file", "F", "holds the key to send", Into(&api_key_file_, NonEmptyText()))
        ->group(group);
    AddOption(app, "--tls-ca", "F", "certificates to trust for https, PEM (the system's)",
              Into(&client_options_.tls_ca_file, NonEmptyText()))
        ->group(group);
  }

  void AddLoadOptions(CLI::App& app) {
    CLI::Option* rate =
        AddOption(app, "--rate", "R", "open loop: R requests a second arrive at random (Poisson)",
                  Into(&rate_, PositiveNumber()));
    CLI::Option* users =
        AddOption(app, "--concurrency", "C", "closed loop: C users, each one request at a time",
                  Into(&users_, WholeNumber(1, kMaxUsers)));
    CLI::Option* trace =
        AddOption(app, "--trace", "FILE",
                  "open loop: arrivals and lengths of a trace, Azure's CSV or Mooncake's JSON lines",
                  Into(&trace_, NonEmptyText()));
    rate->excludes(users)->excludes(trace);
    users->excludes(trace);
    SetTitle({rate, users, trace}, "Load (one of)");

    const std::string group = "Load";
    AddOption(app, "--requests", "N", "ends after N requests; of a trace, the first N",
              Into(&requests_, WholeNumber(1, std::numeric_limits<int64_t>::max())))
        ->group(group);
    AddOption(app, "--duration", "S", "sends no request later than this; waits for those sent",
              Into(&duration_s_, PositiveDuration()))
        ->group(group);
    AddOption(app, "--scale-time", "X", "multiplies a trace's arrival times: 0.5 is twice the load (1)",
              Into(&scale_time_, PositiveNumber()))
        ->group(group);
    AddOption(app, "--scale-lengths", "X", "multiplies a trace's lengths (1)",
              Into(&scale_lengths_, PositiveNumber()))
        ->group(group);
    AddOption(app, "--seed", "N", "of arrivals, lengths and prompts (0)",
              Into(&probe_.seed, UnsignedNumber()))
        ->group(group);
    CLI::Option* input = AddOption(app, "--input-tokens", "L",
                                   "length of prompts: N, A-B (uniform) or MEAN+-DEVIATION (normal)",
                                   Into(&input_, Parser(load::TokenLengths::Parse)));
    CLI::Option* output = AddOption(app, "--output-tokens", "L", "length of answers, the same way",
                                    Into(&output_, Parser(load::TokenLengths::Parse)));
    for (CLI::Option* option : {input, output}) option->excludes(trace)->group(group);
  }

  void AddRequestOptions(CLI::App& app) {
    const std::string group = "Requests";
    AddOption(app, "--prompts", "KIND",
              "ids, text, or auto: token ids where the server takes them; chat is always text (auto)",
              Into(&probe_.prompts, OneOf<load::PromptKind>({{"auto", load::PromptKind::kAuto},
                                                             {"ids", load::PromptKind::kIds},
                                                             {"text", load::PromptKind::kText}})))
        ->group(group);
    AddOption(app, "--extra-body", "JSON", "an object merged into each request; null takes a field away",
              Into(&probe_.extra_body, NonEmptyText()))
        ->group(group);
    AddOption(app, "--retries", "N",
              "times a request that gets 429 or 503 is tried again, after its Retry-After (0)",
              Into(&run_options_.retries, WholeNumber(0, 1000)))
        ->group(group);
    AddOption(app, "--timeout", "S", "ends a request when nothing came for so long (10m)",
              Into(&client_options_.silence_limit_s, PositiveDuration()))
        ->group(group);
  }

  void AddReportOptions(CLI::App& app) {
    const std::string group = "Report";
    AddOption(app, "--slo", "LIMITS",
              "goodput counts requests within: ttft=500ms,tpot=50ms,e2e=10s, any of them",
              Into(&slo_, Parser(load::ParseSlo)))
        ->group(group);
    AddOption(app, "--json", "F", "writes the report as JSON", Into(&json_path_, NonEmptyText()))
        ->group(group);
    AddOption(app, "--csv", "F", "writes a line for each request", Into(&csv_path_, NonEmptyText()))
        ->group(group);
    AddOption(app, "--plot", "F.svg", "draws TTFT and ITL", Into(&plot_path_, NonEmptyText()))->group(group);
  }

  absl::StatusOr<load::WorkloadOptions> MakeWorkload() const {
    load::WorkloadOptions workload;
    workload.requests = requests_;
    workload.duration_s = duration_s_;
    workload.seed = probe_.seed;
    if (trace_) {
      LONGSPAN_ASSIGN_OR_RETURN(const std::string text, ReadTextFile(*trace_));
      LONGSPAN_ASSIGN_OR_RETURN(std::vector<load::PlannedRequest> trace, load::ParseTrace(text, *trace_));
      load::ScaleTrace(scale_time_.value_or(1), scale_lengths_.value_or(1), &trace);
      workload.arrivals = load::TraceArrivals{std::move(trace)};
      return workload;
    }
    workload.input = *input_;
    workload.output = *output_;
    if (rate_) {
      workload.arrivals = load::PoissonArrivals{*rate_};
    } else {
      workload.arrivals = load::ClosedLoop{*users_};
    }
    return workload;
  }

  absl::StatusOr<std::unique_ptr<load::HttpClient>> Connect() {
    load::HttpClientOptions options = client_options_;
    options.url = probe_.url;
    if (api_key_file_) {
      LONGSPAN_ASSIGN_OR_RETURN(const std::string key, ReadTextFile(*api_key_file_));
      options.api_key = std::string(absl::StripAsciiWhitespace(key));
      if (options.api_key.empty() || options.api_key.find_first_of("\r\n") != std::string::npos) {
        return absl::InvalidArgumentError(absl::StrCat(*api_key_file_, ": does not hold one line, the key"));
      }
    }
    return load::HttpClient::Create(std::move(options));
  }

  std::string DescribeLoad() const {
    if (trace_) {
      return absl::StrCat("open loop, trace ", *trace_, ", times x ", scale_time_.value_or(1), ", lengths x ",
                          scale_lengths_.value_or(1));
    }
    return absl::StrCat(rate_ ? absl::StrCat("open loop, Poisson arrivals of ", *rate_, "/s")
                              : absl::StrCat("closed loop of ", *users_, " users"),
                        ", ", input_->text(), " tokens in, ", output_->text(), " out");
  }

  load::RunDescription Describe(const load::ServerInfo& server) const {
    return {.url = probe_.url.ToString(),
            .model = server.model,
            .endpoint = probe_.endpoint == load::Endpoint::kChat ? "chat" : "completions",
            .prompts = server.format.prompts().of_ids() ? "token ids" : "text",
            .load = DescribeLoad(),
            .seed = probe_.seed,
            .slo = slo_};
  }

  load::LoadResult Drive(load::HttpClient& client, load::WorkloadOptions workload,
                         load::RequestFormat format) const {
    RememberInterrupts();
    const std::shared_ptr<load::LoadRun> run =
        load::LoadRun::Start(client, load::Workload(std::move(workload)), std::move(format), run_options_);
    load::RunProgress progress;
    bool stopped = false;
    while (!run->WaitFor(kPollInterval)) {
      progress.Update(run->Progress());
      if (PendingInterrupt() != 0 && !std::exchange(stopped, true)) run->Stop();
    }
    progress.Done();
    return run->TakeResult();
  }

  load::ProbeOptions probe_;
  load::HttpClientOptions client_options_;
  load::LoadRunOptions run_options_;
  std::optional<std::string> api_key_file_, trace_, json_path_, csv_path_, plot_path_;
  std::optional<double> rate_, duration_s_, scale_time_, scale_lengths_;
  std::optional<int64_t> users_, requests_;
  std::optional<load::TokenLengths> input_, output_;
  std::optional<load::Slo> slo_;
};

}  // namespace

std::unique_ptr<Command> NewBenchServeCommand() { return std::make_unique<BenchServeCommand>(); }

}  // namespace longspan
