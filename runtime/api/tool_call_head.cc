#include "runtime/api/tool_call_head.h"

#include <algorithm>

namespace longspan {
namespace {

bool IsSpace(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

}  // namespace

ToolCallHead::Step ToolCallHead::Feed(char c) {
  if (place_ != Place::kKey && place_ != Place::kValue && IsSpace(c)) return Step::kInside;
  switch (place_) {
    case Place::kOpen:
      if (c != '{') return Step::kNoCall;
      place_ = Place::kBeforeKey;
      return Step::kInside;
    case Place::kBeforeKey:
      if (c == '}') return EndObject();
      if (c == '"') {
        key_.clear();
        place_ = Place::kKey;
      }
      return c == '"' || c == ',' ? Step::kInside : Step::kNoCall;
    case Place::kKey:
      if (c == '\\') return Step::kNoCall;  // no key of a call needs it
      if (c != '"') {
        key_ += c;
      } else if (AcceptKey()) {
        place_ = Place::kColon;
      } else {
        return Step::kNoCall;
      }
      return Step::kInside;
    case Place::kColon:
      if (c != ':') return Step::kNoCall;
      value_.clear();
      scanner_ = JsonScanner();
      place_ = Place::kValue;
      return Step::kInside;
    case Place::kValue:
      return FeedValue(c);
  }
  return Step::kNoCall;
}

bool ToolCallHead::AcceptKey() const {
  return names_ == nullptr || key_ == "name" || key_ == "type" || key_ == "id" || KeyIsArguments();
}

ToolCallHead::Step ToolCallHead::FeedValue(char c) {
  if (scanner_.kind() == JsonScanner::Kind::kNothing) {
    if (IsSpace(c)) return Step::kInside;
    if (KeyIsArguments() && !name_.empty()) return Step::kArguments;
  }
  const JsonScanner::Step step = scanner_.Feed(c);
  if (step != JsonScanner::Step::kBehind) value_ += c;
  if (step == JsonScanner::Step::kInside) return Step::kInside;
  if (!EndValue()) return Step::kNoCall;
  place_ = Place::kBeforeKey;
  return step == JsonScanner::Step::kBehind ? Feed(c) : Step::kInside;
}

// Whether it may still be a call.
bool ToolCallHead::EndValue() {
  if (KeyIsArguments()) arguments_ = value_;
  if (key_ != "name") return true;
  if (scanner_.kind() != JsonScanner::Kind::kString || value_.find('\\') != std::string::npos) return false;
  name_ = value_.substr(1, value_.size() - 2);
  return !name_.empty() &&
         (names_ == nullptr || std::find(names_->begin(), names_->end(), name_) != names_->end());
}

ToolCallHead::Step ToolCallHead::EndObject() {
  if (name_.empty()) return Step::kNoCall;
  if (arguments_.empty()) {
    if (names_ != nullptr) return Step::kNoCall;
    arguments_ = "{}";
  }
  return Step::kWhole;
}

}  // namespace longspan
