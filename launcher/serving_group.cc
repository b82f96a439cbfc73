#include "launcher/serving_group.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "comm/control_channel.h"
#include "kernels/numerics.h"
#include "kernels/status_macros.h"
#include "launcher/engine_options.h"
#include "launcher/option_parsers.h"
#include "launcher/version.h"
#include "runtime/model/fingerprint.h"

namespace longspan {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kCountCommEvery{500};
// Commands that the engine has not yet seen count as open too: some of them may be cancelled already.
constexpr int64_t kMostOpenPerSequence = 4;

ValueParser<double> DurationOrAuto() {
  return [duration = Duration()](std::string_view text) -> absl::StatusOr<double> {
    if (text == "auto") return kAutoItlTarget;
    return duration(text);
  };
}

absl::Status Describe(Group& group, const EngineOptions& engine, GroupDescription* description) {
  LONGSPAN_ASSIGN_OR_RETURN(const GroupReport report, group.Report());
  description->build = BuildName();
  description->rank_invariant = group.options().numerics.ways == kReductionWays;
  description->tp = report.tp;
  description->hosts = report.hosts;
  description->transport_addresses = report.transport_addresses;
  description->geometry = group.geometry();
  for (size_t rank = 0; rank < report.kv_bytes.size(); ++rank) {
    const int64_t pages = group.geometry().pages_per_rank[rank % static_cast<size_t>(report.kvp)];
    description->page_bytes.push_back(report.kv_bytes[rank] / static_cast<uint64_t>(pages));
  }
  description->max_sequences = engine.max_sequences;
  description->max_context = engine.max_context;
  description->chunk_tokens = engine.chunk_tokens;
  description->prompt_logits_chunk = std::min(engine.chunk_tokens, engine.max_logit_rows);
  return absl::OkStatus();
}

}  // namespace

void AddServingOptions(CLI::App& app, ServingOptions* options) {
  const std::vector<CLI::Option*> added = {
      AddOption(app, "--max-sequences", "N", "requests that run at once at most (64)",
                Into(&options->max_sequences, WholeNumber(1, 4096))),
      AddOption(
          app, "--itl-target", "TIME",
          "gap between a stream's tokens that prompts of others may cause (auto: from what a step costs)",
          Into(&options->itl_target_s, DurationOrAuto())),
  };
  SetTitle(added, "Service");
}

GroupIdentity IdentityOf(const ModelSource& source, const ModelTexts& texts) {
  return {.protocol = kControlProtocol,
          .model = ModelFingerprint(source),
          .tokenizer = texts.fingerprint,
          .numerics = {}};
}

absl::StatusOr<std::unique_ptr<ServingGroup>> ServingGroup::Create(const ModelSource& source,
                                                                   const ModelTexts& texts, Group& group,
                                                                   const ModelOptions& model,
                                                                   const ServingOptions& options,
                                                                   const Clock& clock) {
  EngineOptions engine = EngineOptionsFor(source.config(), texts.tokenizer.get(), group, model);
  engine.max_waiting = static_cast<int>(kMostOpenPerSequence * options.max_sequences);
  engine.itl_target_s = options.itl_target_s;
  engine.clock = &clock;
  engine.kv_heads = source.config().num_kv_heads;
  GroupIdentity identity = IdentityOf(source, texts);
  identity.numerics = group.options().numerics.ToString();
  engine.kv_root =
      HashRoot(absl::StrCat(identity.model, " ", identity.tokenizer, " ", identity.numerics), "");
  std::unique_ptr<ServingGroup> serving(new ServingGroup(group, clock));
  LONGSPAN_ASSIGN_OR_RETURN(serving->engine_, Engine::Create(engine, &group));
  serving->description_.name = options.name;
  serving->description_.role = options.role;
  serving->description_.identity = std::move(identity);
  LONGSPAN_RETURN_IF_ERROR(Describe(group, engine, &serving->description_));
  serving->loop_ =
      std::make_unique<EngineLoop>(*serving->engine_, kMostOpenPerSequence * options.max_sequences, clock);
  group.SetOnKvArrival([loop = serving->loop_.get()](const HandoffId& handoff, const KvArrival& arrival) {
    loop->KvArrived(handoff, arrival);
  });
  serving->link_ = std::make_unique<LocalGroup>(
      *serving->loop_,
      [grammars = texts.grammars](const std::string& text) { return grammars->NewConstraint(text); });
  return serving;
}

GroupStatus ServingGroup::status() const {
  const std::lock_guard lock(mutex_);
  return {*loop_->snapshot(), comm_};
}

absl::Status ServingGroup::Run(const std::function<void()>& tick) {
  Clock::Time counted = Clock::Time::min();
  return loop_->Run([&] {
    if (const Clock::Time now = clock_.Now();
        now >= counted + kCountCommEvery || counted == Clock::Time::min()) {
      counted = now;
      const CommCounters comm = group_.comm_counters();
      const std::lock_guard lock(mutex_);
      comm_ = comm;
    }
    tick();
  });
}

}  // namespace longspan
