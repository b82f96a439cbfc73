#include "launcher/commands/serve_program.h"

#include <csignal>
#include <filesystem>
#include <utility>

#include <spdlog/spdlog.h>
#include <xxhash.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "comm/clock.h"
#include "kernels/status_macros.h"
#include "launcher/engine_options.h"
#include "launcher/interrupts.h"
#include "launcher/text_files.h"
#include "runtime/api/api_server.h"
#include "runtime/api/tool_call_prompt.h"
#include "runtime/chat/chat_template.h"
#include "runtime/engine/engine_loop.h"
#include "runtime/tokenizer/tokenizer.h"

namespace longspan {
namespace {

using std::chrono::milliseconds;

// A prompt that does not fit yet lets smaller ones start before it for so long.
constexpr double kMaxOvertakenS = 2;
// In which mpirun lets a rank end after SIGTERM, with a margin.
constexpr milliseconds kQuickDrain{300};
constexpr milliseconds kLastAnswers{2000};  // to leave after the last request has ended
constexpr milliseconds kLastErrors{1000};
constexpr milliseconds kTellCommEvery{500};

std::string NameOf(const std::string& path) {
  std::filesystem::path name = std::filesystem::path(path).lexically_normal();
  if (!name.has_filename()) name = name.parent_path();
  return name.extension() == ".gguf" ? name.stem().string() : name.filename().string();
}

class ServeProgram final : public GroupProgram {
 public:
  ServeProgram(ServeOptions options, const RankEnv& env) : options_(std::move(options)), env_(env) {}

  absl::StatusOr<int64_t> Prepare(const ModelSource& source) override;
  void OnProgress(double fraction) override { server_->SetProgress(fraction); }
  void OnLoss(const absl::Status& loss) override;
  absl::StatusOr<int> Drive(const ModelSource& source, Group& group, double load_s) override;

 private:
  absl::Status CreateTokenizer(const ModelSource& source);
  absl::StatusOr<ServedModel> Describe(const ModelSource& source, Group& group,
                                       const std::vector<int32_t>& eos_token_ids) const;
  // Between two steps: has a signal come?
  void Tick(EngineLoop& loop, const Group& group);

  ServeOptions options_;
  const RankEnv env_;
  const SteadyClock clock_;
  std::unique_ptr<Tokenizer> tokenizer_;
  std::optional<ChatTemplate> chat_;
  std::unique_ptr<ApiServer> server_;
  Clock::Time comm_told_;
  int signal_ = 0;  // that ends it
};

absl::Status ServeProgram::CreateTokenizer(const ModelSource& source) {
  absl::StatusOr<std::unique_ptr<Tokenizer>> tokenizer = Tokenizer::Create(source);
  if (!tokenizer.ok()) {
    spdlog::warn("prompts have to be token ids, and answers are token ids: {}",
                 std::string(tokenizer.status().message()));
    return absl::OkStatus();
  }
  tokenizer_ = *std::move(tokenizer);
  LONGSPAN_ASSIGN_OR_RETURN(chat_, ChatTemplate::Create(source, tokenizer_.get()));
  if (!chat_->from_model()) {
    spdlog::warn(
        "the model brings no chat template, so it may not have learned to answer: conversations are written "
        "as "
        "plain lines, \"User: ...\" and \"Assistant: ...\"");
  }
  return absl::OkStatus();
}

absl::StatusOr<int64_t> ServeProgram::Prepare(const ModelSource& source) {
  ApiServerOptions api;
  api.http.host = options_.host;
  api.http.port = static_cast<int>(options_.port);
  api.http.tls_certificate = options_.tls_cert;
  api.http.tls_key = options_.tls_key;
  if (options_.served_model_name.empty()) options_.served_model_name = NameOf(options_.model.model);
  api.model_name = options_.served_model_name;
  if (!options_.api_key_file.empty()) {
    LONGSPAN_ASSIGN_OR_RETURN(const std::string text, ReadTextFile(options_.api_key_file));
    LONGSPAN_ASSIGN_OR_RETURN(api.keys, ApiKeys::Parse(text, options_.api_key_file));
  }
  LONGSPAN_ASSIGN_OR_RETURN(server_, ApiServer::Create(std::move(api), clock_));
  spdlog::info("listening on http{}://{}:{}", options_.tls_cert.empty() ? "" : "s", options_.host,
               server_->port());
  LONGSPAN_RETURN_IF_ERROR(CreateTokenizer(source));
  return options_.max_sequences;
}

absl::StatusOr<ServedModel> ServeProgram::Describe(const ModelSource& source, Group& group,
                                                   const std::vector<int32_t>& eos_token_ids) const {
  LONGSPAN_ASSIGN_OR_RETURN(const GroupReport report, group.Report());
  ServedModel model;
  model.name = options_.served_model_name;
  model.tokenizer = tokenizer_.get();
  model.chat = chat_ ? &*chat_ : nullptr;
  model.eos_token_ids = eos_token_ids;
  if (source.ChatTemplate()) {
    model.tool_call_format = DetectToolCallFormat(*source.ChatTemplate());
    model.template_knows_tools = TemplateKnowsTools(*source.ChatTemplate());
  }
  if (model.tokenizer != nullptr) {
    model.tool_call_tokens = ToolCallTokens(model.tool_call_format, *model.tokenizer);
  }
  model.grammars =
      std::make_shared<AnswerGrammars>(model.tokenizer, source.config().vocab_size, eos_token_ids,
                                       model.tool_call_format, model.tool_call_tokens);
  model.tp = report.tp;
  model.kvp = report.kvp;
  model.hosts = report.hosts;
  const KvGeometry& geometry = group.geometry();
  for (size_t rank = 0; rank < report.kv_bytes.size(); ++rank) {
    const int64_t pages = geometry.pages_per_rank[rank % static_cast<size_t>(report.kvp)];
    model.page_bytes.push_back(report.kv_bytes[rank] / static_cast<uint64_t>(pages));
  }
  model.block_size = geometry.block_size;
  model.numerics = group.options().numerics.ToString();
  model.rank_invariant = group.options().numerics.ways == kReductionWays;
  const std::string decides = absl::StrCat(model.name, " ", model.numerics);
  model.fingerprint = absl::StrFormat("fp_%016x", XXH3_64bits(decides.data(), decides.size()));
  return model;
}

void ServeProgram::Tick(EngineLoop& loop, const Group& group) {
  if (const Clock::Time now = clock_.Now(); now - comm_told_ > kTellCommEvery) {
    comm_told_ = now;
    server_->SetComm(group.comm_counters());
  }
  if (signal_ != 0 || PendingInterrupt() == 0) return;
  signal_ = PendingInterrupt();
  const bool quick = signal_ == SIGTERM && env_.size > 1;
  const Clock::Duration timeout = quick ? kQuickDrain : FromSeconds(options_.drain_timeout_s);
  spdlog::info("draining: no new requests, {} open ones may go on for {} s; a second signal ends at once",
               loop.open(), ToSeconds(timeout));
  server_->SetDraining();
  loop.Drain(timeout);
}

absl::StatusOr<int> ServeProgram::Drive(const ModelSource& source, Group& group, double load_s) {
  EngineOptions engine_options = EngineOptionsFor(source.config(), tokenizer_.get(), group, options_.model);
  engine_options.max_waiting = static_cast<int>(options_.max_queue);
  engine_options.itl_target_s = options_.itl_target_s.value_or(kAutoItlTarget);
  engine_options.max_overtaken_s = kMaxOvertakenS;
  engine_options.clock = &clock_;
  LONGSPAN_ASSIGN_OR_RETURN(const std::unique_ptr<Engine> engine, Engine::Create(engine_options, &group));
  LONGSPAN_ASSIGN_OR_RETURN(ServedModel model, Describe(source, group, engine_options.eos_token_ids));
  EngineLoop loop(*engine, options_.max_sequences + options_.max_queue, clock_);
  model.loop = &loop;
  model.limits = engine->limits();
  server_->SetReady(std::move(model));
  spdlog::info("ready after {:.1f} s of loading: {} requests at once, contexts of up to {} tokens", load_s,
               options_.max_sequences, engine->limits().store_tokens);
  const absl::Status ended = loop.Run([&] { Tick(loop, group); });
  if (!ended.ok()) {
    server_->Fail(ended);
    server_->Finish(kLastErrors);
    server_.reset();
    return ended;
  }
  server_->Finish(kLastAnswers);
  server_.reset();
  spdlog::info("ended in order");
  return signal_ == SIGINT ? 128 + SIGINT : 0;
}

void ServeProgram::OnLoss(const absl::Status& loss) {
  if (server_ == nullptr) return;
  server_->Fail(loss);
  server_->Finish(kLastErrors);
}

}  // namespace

std::unique_ptr<GroupProgram> NewServeProgram(ServeOptions options, const RankEnv& env) {
  return std::make_unique<ServeProgram>(std::move(options), env);
}

}  // namespace longspan
