#include "runtime/coordinator/decision_log.h"

#include <cmath>
#include <set>
#include <string>
#include <utility>

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"

namespace longspan {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kVersion = 1;

std::string Text(const Json& line) {
  return line.dump(-1, ' ', /*ensure_ascii=*/false, Json::error_handler_t::replace);
}

int64_t Nanoseconds(Clock::Duration duration) { return std::chrono::nanoseconds(duration).count(); }
Clock::Duration DurationOf(const Json& json) { return std::chrono::nanoseconds(json.get<int64_t>()); }

// Of what somebody else may have written: far more than there is, and no sum of two overflows.
bool IsLength(int64_t tokens) { return tokens >= 0 && tokens <= int64_t{1} << 40; }

Json OptionsLine(const DispatcherOptions& options) {
  return {{"call", "options"},
          {"version", kVersion},
          {"max_waiting", options.max_waiting},
          {"max_waiting_tokens", options.max_waiting_tokens},
          {"max_losses", options.max_losses},
          {"homeless_timeout_ns", Nanoseconds(options.homeless_timeout)}};
}

DispatcherOptions OptionsOf(const Json& line) {
  return {.max_waiting = line.at("max_waiting"),
          .max_waiting_tokens = line.at("max_waiting_tokens"),
          .max_losses = line.at("max_losses"),
          .homeless_timeout = DurationOf(line.at("homeless_timeout_ns"))};
}

// What decisions depend on, and the name.
void AddDescription(const GroupDescription& group, Json* line) {
  Json layer_groups = Json::array();
  for (const KvGroupGeometry& layers : group.geometry.groups) {
    layer_groups.push_back(Json::array({layers.window, layers.pages_per_block}));
  }
  line->update({{"name", group.name},
                {"role", Name(group.role)},
                {"block_size", group.geometry.block_size},
                {"layer_groups", std::move(layer_groups)},  // window, pages of a block
                {"pages_per_rank", group.geometry.pages_per_rank},
                {"max_sequences", group.max_sequences},
                {"max_context", group.max_context},
                {"chunk_tokens", group.chunk_tokens},
                {"prompt_logits_chunk", group.prompt_logits_chunk}});
}

absl::StatusOr<GroupDescription> DescriptionOf(const Json& line) {
  GroupDescription group;
  group.name = line.at("name");
  const std::string role = line.at("role");
  for (const GroupRole known : {GroupRole::kMixed, GroupRole::kPrefill, GroupRole::kDecode}) {
    if (role == Name(known)) group.role = known;
  }
  if (role != Name(group.role)) return absl::InvalidArgumentError(absl::StrCat("a role '", role, "'"));
  group.geometry.block_size = line.at("block_size");
  for (const Json& layers : line.at("layer_groups")) {
    group.geometry.groups.push_back({.window = layers.at(0), .pages_per_block = layers.at(1)});
  }
  group.geometry.pages_per_rank = line.at("pages_per_rank").get<std::vector<int64_t>>();
  group.geometry.kvp = static_cast<int>(group.geometry.pages_per_rank.size());
  group.max_sequences = line.at("max_sequences");
  group.max_context = line.at("max_context");
  group.chunk_tokens = line.at("chunk_tokens");
  group.prompt_logits_chunk = line.at("prompt_logits_chunk");
  if (group.chunk_tokens < 1 || group.prompt_logits_chunk < 1 || !IsLength(group.max_context)) {
    return absl::InvalidArgumentError("lengths that no group has");
  }
  if (absl::Status status = group.geometry.Validate(); !status.ok()) return status;
  return group;
}

// JSON has no other numbers, and to a dispatcher they are none.
double Finite(double rate) { return std::isfinite(rate) ? rate : 0; }

Json LoadLine(GroupId group, const GroupLoad& load) {
  Json running = Json::array();
  for (const GroupLoad::Progress& progress : load.running) {
    running.push_back(Json::array({progress.ticket, progress.computed_tokens, progress.output_tokens}));
  }
  return {{"call", "load"},
          {"group", group},
          {"prefill_tokens_per_s", Finite(load.prefill_tokens_per_s)},
          {"decode_step_s", Finite(load.decode_step_s)},
          {"running", std::move(running)}};
}

GroupLoad LoadOf(const Json& line) {
  GroupLoad load;
  load.prefill_tokens_per_s = line.at("prefill_tokens_per_s");
  load.decode_step_s = line.at("decode_step_s");
  for (const Json& progress : line.at("running")) {
    load.running.push_back({progress.at(0), progress.at(1), progress.at(2)});
  }
  return load;
}

Json SubmitLine(const Demand& demand, const absl::StatusOr<TicketId>& result) {
  Json line = {{"call", "submit"},
               {"prompt_tokens", demand.prompt_tokens},
               {"max_tokens", demand.max_tokens},
               {"prompt_logits", demand.prompt_logits},
               {"priority", demand.priority}};
  if (demand.deadline) line["deadline"] = Nanoseconds(demand.deadline->time_since_epoch());
  if (result.ok()) {
    line["ticket"] = *result;
  } else {
    line["refused"] = absl::StatusCodeToString(result.status().code());
    line["reason"] = std::string(result.status().message());
  }
  return line;
}

Demand DemandOf(const Json& line) {
  Demand demand;
  demand.prompt_tokens = line.at("prompt_tokens");
  demand.max_tokens = line.at("max_tokens");
  demand.prompt_logits = line.at("prompt_logits");
  demand.priority = line.at("priority");
  if (line.contains("deadline")) demand.deadline = Clock::Time(DurationOf(line.at("deadline")));
  return demand;
}

Json EndLine(TicketId ticket, std::optional<int64_t> output_tokens) {
  Json line = {{"call", "end"}, {"ticket", ticket}};
  if (output_tokens) line["output_tokens"] = *output_tokens;
  return line;
}

Json DecideLine(const std::vector<Decision>& decisions) {
  Json list = Json::array();
  for (const Decision& decision : decisions) {
    Json& entry = list.emplace_back(Json{{"kind", Name(decision.kind)},
                                         {"ticket", decision.ticket},
                                         {"group", decision.group},
                                         {"shift", decision.shift}});
    if (decision.prefill_group != 0) {
      entry["prefill_group"] = decision.prefill_group;
      entry["prefill_shift"] = decision.prefill_shift;
    }
    entry["reason"] = decision.reason;
  }
  return {{"call", "decide"}, {"decisions", std::move(list)}};
}

// Stands where it is put.
class LogClock final : public Clock {
 public:
  Time Now() const override { return now_; }
  void Set(Time now) { now_ = now; }

 private:
  Time now_;
};

class Replayer {
 public:
  // Makes the call of a line, and compares what is logged of it.
  absl::Status Take(const std::string& text) {
    const Json line = Json::parse(text);
    const std::string call = line.at("call");
    clock_.Set(Clock::Time(DurationOf(line.at("t"))));
    logged_.clear();
    if ((call == "options") == dispatcher_.has_value()) {
      return absl::InvalidArgumentError("'options' is the first call, and no other");
    }
    if (absl::Status status = Make(call, line); !status.ok()) return status;
    if (logged_ == text) return absl::OkStatus();
    return absl::DataLossError(absl::StrCat("the log has ", text, ", but now it is ",
                                            logged_.empty() ? "no line, since it changes nothing" : logged_));
  }

 private:
  absl::Status Make(const std::string& call, const Json& line) {
    if (call == "options") {
      if (line.at("version") != kVersion) {
        return absl::InvalidArgumentError(
            absl::StrCat("a log of version ", line.at("version").dump(), "; this program reads ", kVersion));
      }
      dispatcher_.emplace(OptionsOf(line), clock_, [this](std::string_view text) { logged_ = text; });
    } else if (call == "submit") {
      const Demand demand = DemandOf(line);
      if (demand.prompt_tokens < 1 || !IsLength(demand.prompt_tokens) || !IsLength(demand.max_tokens)) {
        return absl::InvalidArgumentError("a length that no request has");
      }
      dispatcher_->Submit(demand).IgnoreError();
    } else if (call == "end") {
      dispatcher_->End(line.at("ticket"), line.contains("output_tokens")
                                              ? std::optional<int64_t>(line.at("output_tokens"))
                                              : std::nullopt);
    } else if (call == "refused") {
      dispatcher_->Refused(line.at("ticket"));
    } else if (call == "prefilled") {
      dispatcher_->Prefilled(line.at("ticket"));
    } else if (call == "decide") {
      dispatcher_->Decide();
    } else {
      return MakeOfGroup(call, line);
    }
    return absl::OkStatus();
  }

  absl::Status MakeOfGroup(const std::string& call, const Json& line) {
    const GroupId group = line.at("group");
    if ((call == "add_group") == groups_.contains(group)) {
      return absl::InvalidArgumentError(
          absl::StrCat("group ", group, groups_.contains(group) ? " has joined before" : " is unknown"));
    }
    if (call == "add_group") {
      absl::StatusOr<GroupDescription> description = DescriptionOf(line);
      if (!description.ok()) return description.status();
      groups_.insert(group);
      dispatcher_->AddGroup(group, *std::move(description));
    } else if (call == "remove_group") {
      groups_.erase(group);
      dispatcher_->RemoveGroup(group);
    } else if (call == "drain_group") {
      dispatcher_->DrainGroup(group);
    } else if (call == "load") {
      dispatcher_->SetLoad(group, LoadOf(line));
    } else {
      return absl::InvalidArgumentError(absl::StrCat("a call '", call, "'"));
    }
    return absl::OkStatus();
  }

  LogClock clock_;
  std::optional<LoggedDispatcher> dispatcher_;
  std::string logged_;  // of the call
  std::set<GroupId> groups_;
};

}  // namespace

LoggedDispatcher::LoggedDispatcher(DispatcherOptions options, const Clock& clock, Sink sink)
    : dispatcher_(options), clock_(clock), sink_(std::move(sink)) {
  if (sink_) Log(OptionsLine(options), clock_.Now());
}

template <typename Line>
void LoggedDispatcher::Log(const Line& line, Clock::Time now) const {
  // The time goes first.
  sink_(absl::StrCat("{\"t\":", Nanoseconds(now.time_since_epoch()), ",", Text(line).substr(1)));
}

void LoggedDispatcher::AddGroup(GroupId group, GroupDescription description) {
  if (sink_) {
    Json line = {{"call", "add_group"}, {"group", group}};
    AddDescription(description, &line);
    Log(line, clock_.Now());
  }
  dispatcher_.AddGroup(group, std::move(description));
}

void LoggedDispatcher::RemoveGroup(GroupId group) {
  const Clock::Time now = clock_.Now();
  dispatcher_.RemoveGroup(group, now);
  if (sink_) Log(Json{{"call", "remove_group"}, {"group", group}}, now);
}

void LoggedDispatcher::DrainGroup(GroupId group) {
  if (dispatcher_.DrainGroup(group) && sink_) {
    Log(Json{{"call", "drain_group"}, {"group", group}}, clock_.Now());
  }
}

void LoggedDispatcher::SetLoad(GroupId group, const GroupLoad& load) {
  if (dispatcher_.SetLoad(group, load) && sink_) Log(LoadLine(group, load), clock_.Now());
}

absl::StatusOr<TicketId> LoggedDispatcher::Submit(const Demand& demand) {
  const Clock::Time now = clock_.Now();
  absl::StatusOr<TicketId> ticket = dispatcher_.Submit(demand, now);
  if (sink_) Log(SubmitLine(demand, ticket), now);
  return ticket;
}

void LoggedDispatcher::End(TicketId ticket, std::optional<int64_t> output_tokens) {
  if (dispatcher_.End(ticket, output_tokens) && sink_) Log(EndLine(ticket, output_tokens), clock_.Now());
}

void LoggedDispatcher::Refused(TicketId ticket) {
  const Clock::Time now = clock_.Now();
  if (dispatcher_.Refused(ticket, now) && sink_) Log(Json{{"call", "refused"}, {"ticket", ticket}}, now);
}

void LoggedDispatcher::Prefilled(TicketId ticket) {
  if (dispatcher_.Prefilled(ticket) && sink_) {
    Log(Json{{"call", "prefilled"}, {"ticket", ticket}}, clock_.Now());
  }
}

std::vector<Decision> LoggedDispatcher::Decide() {
  const Clock::Time now = clock_.Now();
  if (dispatcher_.next_event() > now) return {};
  std::vector<Decision> decisions = dispatcher_.Decide(now);
  if (sink_) Log(DecideLine(decisions), now);
  return decisions;
}

absl::Status Replay(std::istream& log) {
  Replayer replayer;
  std::string line;
  int64_t number = 0;
  while (std::getline(log, line)) {
    ++number;
    absl::Status status;
    try {
      status = replayer.Take(line);
    } catch (const Json::exception& error) {
      status = absl::InvalidArgumentError(absl::StrCat("is no line of a decision log: ", error.what()));
    }
    if (!status.ok()) {
      return absl::Status(status.code(), absl::StrCat("line ", number, ": ", status.message()));
    }
  }
  if (number == 0) return absl::InvalidArgumentError("an empty decision log");
  return absl::OkStatus();
}

}  // namespace longspan
