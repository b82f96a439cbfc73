#include "runtime/api/tool_call_parser.h"

#include <algorithm>
#include <utility>

#include <nlohmann/json.hpp>

#include "runtime/api/json_scanner.h"
#include "runtime/api/tool_call_head.h"

namespace longspan {
namespace {

constexpr std::string_view kSpace = " \t\r\n";
constexpr std::string_view kBetweenCalls = " \t\r\n,;]}";

bool IsNameCharacter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
         c == '.';
}

// Whether `text` could still grow into `marker`.
bool Begins(std::string_view text, std::string_view marker) {
  return text.size() < marker.size() && marker.starts_with(text);
}

// Bytes at the end of `text` that could be the beginning of `marker`.
size_t PartOfMarker(std::string_view text, std::string_view marker) {
  size_t length = std::min(text.size(), marker.empty() ? 0 : marker.size() - 1);
  while (length > 0 && !marker.starts_with(text.substr(text.size() - length))) --length;
  return length;
}

}  // namespace

// Text waits in held_. Each step takes a character or a marker, or goes to another place; it decides on what
// is there only when nothing that may follow could change that, so cuts do not matter.
class ToolCallParser::State {
 public:
  State(ToolCallParserOptions options, ToolCallListener* listener)
      : options_(std::move(options)), markers_(MarkersOf(options_.format)), listener_(listener) {
    const bool bare = options_.format == ToolCallFormat::kJson || options_.format == ToolCallFormat::kLlama3;
    place_ = bare ? Place::kBeginning : Place::kContent;
  }

  void Append(std::string_view text) {
    held_ += text;
    while (Step()) {
    }
  }

  void Finish() {
    ended_ = true;
    while (Step()) {
    }
    Flush();
  }

 private:
  enum class Place : uint8_t {
    kBeginning,   // of an answer that is a call when it begins with one
    kContent,     // text; perhaps a marker
    kBeforeCall,  // behind a marker, or where another call may follow
    kHead,        // {"name": …,
    kName,        // Mistral's name without JSON
    kAfterName,   // [CALL_ID]…[ARGS]
    kArguments,
    kRest,       // what follows the arguments in the call's object
    kAfterCall,  // where the next call, the end marker or text may follow
  };

  bool Step();  // false: needs more text
  bool StepBeginning();
  bool StepContent();
  bool StepBeforeCall();
  bool StepHead();
  bool StepName();
  bool StepAfterName();
  bool StepArguments();
  bool StepRest();
  bool StepAfterCall();
  void Flush();

  std::string_view Ahead() const { return std::string_view(held_).substr(at_); }
  bool GoTo(Place place) {
    place_ = place;
    return true;
  }
  // The call's marker stands at at_, or what is there may become it.
  bool AtEndMarker() const { return !markers_.end.empty() && Ahead().starts_with(markers_.end); }
  bool MayBeEndMarker() const { return !ended_ && !markers_.end.empty() && Begins(Ahead(), markers_.end); }

  std::string Take() {
    std::string taken = held_.substr(0, at_);
    held_.erase(0, std::exchange(at_, 0));
    return taken;
  }
  void DropLeading(std::string_view characters) {
    at_ = std::min(held_.find_first_not_of(characters), held_.size());
    Take();
  }
  bool NoCall() {  // what was held is text
    Content(Take());
    return GoTo(Place::kContent);
  }
  void Content(std::string_view text) {
    if (!text.empty()) listener_->OnContent(text);
  }
  void BeginCall(std::string_view name) {
    Take();
    wanted_ = options_.parallel || calls_ == 0;
    ++calls_;
    if (wanted_) listener_->OnCall(name);
    arguments_ = JsonScanner();
  }
  void Arguments(std::string_view text) {
    if (wanted_ && !text.empty()) listener_->OnArguments(text);
  }
  // Some models write the arguments' object as a JSON string.
  void WholeArguments(std::string_view value) {
    if (value.starts_with('"')) {
      const auto text =
          nlohmann::json::parse(value.begin(), value.end(), nullptr, /*allow_exceptions=*/false);
      if (text.is_string()) return Arguments(text.get_ref<const std::string&>());
    }
    Arguments(value);
  }

  const ToolCallParserOptions options_;
  const ToolCallMarkers markers_;
  ToolCallListener* const listener_;
  Place place_;
  std::string held_;
  size_t at_ = 0;  // held_ was looked at up to here
  bool ended_ = false;
  bool marked_ = false;   // behind a marker: what follows is a call of any name
  bool in_list_ = false;  // "[" stood before the calls
  bool in_object_ = false;
  ToolCallHead head_{nullptr};
  std::string name_;
  JsonScanner arguments_, rest_;
  bool wanted_ = true;
  int calls_ = 0;
};

bool ToolCallParser::State::Step() {
  switch (place_) {
    case Place::kBeginning:
      return StepBeginning();
    case Place::kContent:
      return StepContent();
    case Place::kBeforeCall:
      return StepBeforeCall();
    case Place::kHead:
      return StepHead();
    case Place::kName:
      return StepName();
    case Place::kAfterName:
      return StepAfterName();
    case Place::kArguments:
      return StepArguments();
    case Place::kRest:
      return StepRest();
    case Place::kAfterCall:
      return StepAfterCall();
  }
  return false;
}

bool ToolCallParser::State::StepBeginning() {
  const size_t first = held_.find_first_not_of(kSpace);
  if (first == std::string::npos) return false;
  if (held_[first] != '{' && held_[first] != '[') return GoTo(Place::kContent);
  at_ = first;
  return GoTo(Place::kBeforeCall);
}

// Spaces before a marker are no content.
bool ToolCallParser::State::StepContent() {
  const size_t marker = markers_.begin.empty() ? std::string::npos : held_.find(markers_.begin);
  if (marker == std::string::npos && (ended_ || markers_.begin.empty())) {
    at_ = held_.size();
    Content(Take());
    return false;
  }
  const size_t end =
      marker == std::string::npos ? held_.size() - PartOfMarker(held_, markers_.begin) : marker;
  const size_t last = std::string_view(held_).substr(0, end).find_last_not_of(kSpace);
  at_ = last == std::string::npos ? 0 : last + 1;
  const size_t spaces = end - at_;
  Content(Take());
  if (marker == std::string::npos) return false;
  at_ = spaces + markers_.begin.size();
  marked_ = true;
  in_list_ = false;
  return GoTo(Place::kBeforeCall);
}

bool ToolCallParser::State::StepBeforeCall() {
  if (at_ == held_.size()) return false;
  const char c = held_[at_];
  if (c == '{') {
    head_ = ToolCallHead(marked_ ? nullptr : &options_.names);
    return GoTo(Place::kHead);
  }
  const bool mistral = !markers_.inner.empty();
  if (mistral && !in_list_ && IsNameCharacter(c)) {
    name_.clear();
    return GoTo(Place::kName);
  }
  const bool opens_list = c == '[' && !in_list_;
  if (!opens_list && kSpace.find(c) == std::string_view::npos) return NoCall();
  in_list_ |= opens_list;
  ++at_;
  return true;
}

bool ToolCallParser::State::StepHead() {
  if (at_ == held_.size()) return false;
  const ToolCallHead::Step step = head_.Feed(held_[at_]);
  if (step == ToolCallHead::Step::kNoCall) return NoCall();
  if (step == ToolCallHead::Step::kArguments) {
    BeginCall(head_.name());
    in_object_ = true;
    return GoTo(Place::kArguments);
  }
  ++at_;
  if (step == ToolCallHead::Step::kInside) return true;
  BeginCall(head_.name());
  WholeArguments(head_.arguments());
  return GoTo(Place::kAfterCall);
}

bool ToolCallParser::State::StepName() {
  if (at_ == held_.size()) return false;
  const char c = held_[at_];
  if (IsNameCharacter(c)) {
    name_ += c;
    ++at_;
    return true;
  }
  return c == '[' || c == '{' ? GoTo(Place::kAfterName) : NoCall();
}

bool ToolCallParser::State::StepAfterName() {
  constexpr std::string_view kCallId = "[CALL_ID]", kArgs = "[ARGS]";
  const std::string_view ahead = Ahead();
  const bool has_id = ahead.starts_with(kCallId);
  const size_t args = has_id ? ahead.find(kArgs) : ahead.starts_with(kArgs) ? 0 : std::string_view::npos;
  if (args != std::string_view::npos) {
    at_ += args + kArgs.size();
  } else if (!ahead.starts_with('{')) {
    const bool may_come = has_id || Begins(ahead, kCallId) || Begins(ahead, kArgs);
    return may_come ? false : NoCall();
  }
  BeginCall(name_);
  in_object_ = false;
  return GoTo(Place::kArguments);
}

bool ToolCallParser::State::StepArguments() {
  using Kind = JsonScanner::Kind;
  if (arguments_.kind() == Kind::kNothing) DropLeading(kSpace);
  bool done = false;
  while (at_ < held_.size() && !done) {
    if (!arguments_.in_string() && AtEndMarker()) {
      WholeArguments(Take());
      return GoTo(Place::kAfterCall);
    }
    if (!arguments_.in_string() && MayBeEndMarker()) break;
    const JsonScanner::Step step = arguments_.Feed(held_[at_]);
    done = step != JsonScanner::Step::kInside;
    if (step != JsonScanner::Step::kBehind) ++at_;
  }
  if (arguments_.kind() != Kind::kString) {
    Arguments(Take());
  } else if (done) {
    WholeArguments(Take());
  }
  if (!done) return false;
  rest_ = JsonScanner();
  rest_.Feed('{');
  return GoTo(in_object_ ? Place::kRest : Place::kAfterCall);
}

bool ToolCallParser::State::StepRest() {
  bool done = false;
  while (at_ < held_.size() && !done) {
    if (!rest_.in_string() && MayBeEndMarker()) break;
    done = (!rest_.in_string() && AtEndMarker()) || rest_.Feed(held_[at_++]) == JsonScanner::Step::kLast;
  }
  Take();
  return done ? GoTo(Place::kAfterCall) : false;
}

// What parts calls from each other, and closes what a model opened once too often, is no content.
bool ToolCallParser::State::StepAfterCall() {
  const bool another_can_follow = markers_.end.empty() || marked_;
  DropLeading(another_can_follow ? kBetweenCalls : kSpace);
  if (held_.empty() || MayBeEndMarker()) return false;
  if (AtEndMarker()) {
    at_ = markers_.end.size();
    Take();
    marked_ = false;
    return true;
  }
  if (!ended_ && Begins(held_, markers_.begin)) return false;
  if (held_.front() != '{' || !another_can_follow) return GoTo(Place::kContent);
  in_list_ = true;  // no other list may begin
  return GoTo(Place::kBeforeCall);
}

void ToolCallParser::State::Flush() {
  if (place_ == Place::kArguments) {
    at_ = held_.size();
    Arguments(Take());
  } else if (place_ != Place::kRest && place_ != Place::kAfterCall) {
    Content(held_);
    held_.clear();
  }
}

ToolCallParser::ToolCallParser(ToolCallParserOptions options, ToolCallListener* listener)
    : state_(std::make_unique<State>(std::move(options), listener)) {}

ToolCallParser::~ToolCallParser() = default;

void ToolCallParser::Append(std::string_view text) { state_->Append(text); }

void ToolCallParser::Finish() { state_->Finish(); }

}  // namespace longspan
