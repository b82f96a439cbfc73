#include "runtime/api/request_trace.h"

#include <chrono>
#include <map>

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"

namespace longspan {
namespace {

using nlohmann::ordered_json;

double Microseconds(Clock::Duration duration) {
  return std::chrono::duration<double, std::micro>(duration).count();
}

ordered_json Name(const char* what, size_t process, GroupId thread, const std::string& name) {
  return {{"name", what}, {"ph", "M"}, {"pid", process}, {"tid", thread}, {"args", {{"name", name}}}};
}

}  // namespace

std::string RequestTraceBody(const Coordinator& coordinator, std::span<const TicketId> tickets,
                             Clock::Time now) {
  std::map<GroupId, std::string> names = {{0, "coordinator"}};
  for (const GroupView& group : coordinator.view().groups) {
    names[group.id] = absl::StrCat("group ", group.id, " ", group.description.name, ", ",
                                   std::string(longspan::Name(group.description.role)));
  }
  ordered_json events = ordered_json::array();
  std::optional<Clock::Time> origin;
  for (size_t choice = 0; choice < tickets.size(); ++choice) {
    const std::vector<TraceSpan> spans = coordinator.trace(tickets[choice]);
    if (spans.empty()) continue;
    if (!origin) origin = spans.front().begin;
    events.push_back(Name("process_name", choice, 0, absl::StrCat("choice ", choice)));
    std::map<GroupId, std::string> seen;
    for (const TraceSpan& span : spans) {
      const auto known = names.find(span.group);
      seen[span.group] = known != names.end() ? known->second : absl::StrCat("group ", span.group, ", gone");
      events.push_back({{"name", span.name},
                        {"ph", "X"},
                        {"pid", choice},
                        {"tid", span.group},
                        {"ts", Microseconds(span.begin - *origin)},
                        {"dur", Microseconds(span.end.value_or(now) - span.begin)}});
    }
    for (const auto& [group, name] : seen) events.push_back(Name("thread_name", choice, group, name));
  }
  if (events.empty()) return {};
  const ordered_json body = {{"displayTimeUnit", "ms"}, {"traceEvents", std::move(events)}};
  return body.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace longspan
