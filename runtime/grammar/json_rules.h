// Rules of JSON (RFC 8259), put into an automaton as they are needed.
//
// Written without white space, but for one optional space after each ':' and ','. Threads: one.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/grammar/automaton.h"

namespace longspan {

class JsonRules {
 public:
  explicit JsonRules(AutomatonBuilder* builder) : builder_(*builder) {}

  // Each returns the start of a rule.
  StateId Value();
  StateId Object();  // with any members
  StateId String() { return StringOfLength(0, std::nullopt); }
  StateId StringOfLength(int64_t least, std::optional<int64_t> most);  // in characters
  // A string that is none of these.
  StateId StringBut(std::vector<std::string> names);
  // The rule with this key, made by `build(start, end)` when it is asked for first. A key is any text that
  // tells what the rule accepts.
  StateId Rule(const std::string& key, const std::function<void(StateId, StateId)>& build);

  // A ',' or a ':'.
  void AddSeparator(StateId from, char separator, StateId to);

 private:
  StateId Character();  // one that is not ASCII, or an escape
  void AddPlainAscii(StateId from, StateId to);
  void AddObject(StateId from, StateId to);

  AutomatonBuilder& builder_;
  std::map<std::string, StateId> rules_;
};

// A string as JSON, quotes included.
std::string QuotedJson(std::string_view text);

}  // namespace longspan
