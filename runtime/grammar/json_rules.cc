#include "runtime/grammar/json_rules.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "absl/strings/str_cat.h"
#include "runtime/grammar/json_number.h"
#include "runtime/grammar/utf8_ranges.h"

namespace longspan {

StateId JsonRules::Rule(const std::string& key, const std::function<void(StateId, StateId)>& build) {
  if (const auto found = rules_.find(key); found != rules_.end()) return found->second;
  const StateId start = builder_.AddState();
  const StateId end = builder_.AddState();
  builder_.Accept(end);
  rules_.emplace(key, start);
  build(start, end);
  return start;
}

StateId JsonRules::Character() {
  return Rule("character", [this](StateId from, StateId to) {
    AddUtf8Range(0x80, 0x10FFFF, from, to, &builder_);
    const StateId escape = builder_.AddState();
    builder_.AddBytes(from, '\\', '\\', escape);
    for (const char c : {'"', '\\', '/', 'b', 'f', 'n', 'r', 't'}) builder_.AddText(escape, {&c, 1}, to);
    // \uXXXX; surrogates come in pairs.
    const auto add_digits = [this](StateId at, std::string_view ranges, StateId next) {
      for (size_t i = 0; i < ranges.size(); i += 2) {
        builder_.AddBytes(at, static_cast<uint8_t>(ranges[i]), static_cast<uint8_t>(ranges[i + 1]), next);
      }
    };
    constexpr std::string_view kHex = "09afAF";
    const StateId unit = builder_.AddState(), three = builder_.AddState(), two = builder_.AddState(),
                  one = builder_.AddState();
    builder_.AddBytes(escape, 'u', 'u', unit);
    add_digits(unit, "09acACefEF", three);
    add_digits(three, kHex, two);
    add_digits(two, kHex, one);
    add_digits(one, kHex, to);
    const StateId d = builder_.AddState(), high_two = builder_.AddState(), high_one = builder_.AddState(),
                  pair = builder_.AddState(), low = builder_.AddState(), low_three = builder_.AddState();
    add_digits(unit, "ddDD", d);
    add_digits(d, "07", two);
    add_digits(d, "89abAB", high_two);
    add_digits(high_two, kHex, high_one);
    add_digits(high_one, kHex, pair);
    builder_.AddText(pair, "\\u", low);
    const StateId low_d = builder_.AddState();
    add_digits(low, "ddDD", low_d);
    add_digits(low_d, "cfCF", low_three);
    add_digits(low_three, kHex, one);
  });
}

void JsonRules::AddPlainAscii(StateId from, StateId to) {
  builder_.AddBytes(from, 0x20, '"' - 1, to);
  builder_.AddBytes(from, '"' + 1, '\\' - 1, to);
  builder_.AddBytes(from, '\\' + 1, 0x7F, to);
}

StateId JsonRules::StringOfLength(int64_t least, std::optional<int64_t> most) {
  const StateId character = Character();
  const std::string key = absl::StrCat("string ", least, "-", most ? absl::StrCat(*most) : "");
  return Rule(key, [&](StateId from, StateId to) {
    StateId body = builder_.AddState();
    builder_.AddBytes(from, '"', '"', body);
    for (int64_t length = 0; !builder_.too_large(); ++length) {
      if (length >= least) builder_.AddBytes(body, '"', '"', to);
      if (most && length >= *most) break;
      const bool repeats = !most && length >= least;
      const StateId next = repeats ? body : builder_.AddState();
      AddPlainAscii(body, next);
      builder_.AddCall(body, character, next);
      builder_.SetPlainNext(body, next);
      if (repeats) break;
      body = next;
    }
  });
}

StateId JsonRules::StringBut(std::vector<std::string> names) {
  std::sort(names.begin(), names.end());
  std::string key = "string but";
  for (const std::string& name : names) absl::StrAppend(&key, " ", QuotedJson(name));
  const StateId character = Character();
  return Rule(key, [&](StateId from, StateId to) {
    const StateId free = builder_.AddState();  // what was read begins no name
    AddPlainAscii(free, free);
    builder_.AddCall(free, character, free);
    builder_.SetPlainNext(free, free);
    builder_.AddBytes(free, '"', '"', to);
    // A trie of the names' beginnings in plain ASCII. Inside it there are no escapes, which could spell a
    // name in another way, and no other characters where a name goes on with one.
    struct Node {
      std::map<uint8_t, size_t> next;
      bool is_name = false;
      bool goes_on_otherwise = false;
      StateId state = 0;
    };
    std::vector<Node> nodes(1);
    for (const std::string& name : names) {
      size_t at = 0;
      bool whole = true;
      for (const char c : name) {
        const auto byte = static_cast<uint8_t>(c);
        if (byte < 0x20 || byte >= 0x80 || byte == '"' || byte == '\\') {
          nodes[at].goes_on_otherwise = true;
          whole = false;
          break;
        }
        const auto [entry, is_new] = nodes[at].next.try_emplace(byte, nodes.size());
        at = entry->second;
        if (is_new) nodes.emplace_back();
      }
      if (whole) nodes[at].is_name = true;
    }
    for (Node& node : nodes) node.state = builder_.AddState();
    builder_.AddBytes(from, '"', '"', nodes[0].state);
    for (const Node& node : nodes) {
      if (!node.is_name) builder_.AddBytes(node.state, '"', '"', to);
      if (!node.goes_on_otherwise) AddUtf8Range(0x80, 0x10FFFF, node.state, free, &builder_);
      for (int byte = 0x20; byte < 0x80; ++byte) {
        if (byte == '"' || byte == '\\') continue;
        const auto next = node.next.find(static_cast<uint8_t>(byte));
        builder_.AddBytes(node.state, static_cast<uint8_t>(byte), static_cast<uint8_t>(byte),
                          next != node.next.end() ? nodes[next->second].state : free);
      }
    }
  });
}

StateId JsonRules::Value() {
  return Rule("value", [this](StateId from, StateId to) {
    AddObject(from, to);
    builder_.AddCall(from, String(), to);
    builder_.AddCall(
        from,
        Rule("number", [this](StateId start, StateId end) { AddJsonNumber({}, start, end, &builder_); }), to);
    for (const char* name : {"true", "false", "null"}) builder_.AddText(from, name, to);
    const StateId open = builder_.AddState(), item = builder_.AddState(), after = builder_.AddState();
    builder_.AddText(from, "[", open);
    builder_.AddText(open, "]", to);
    builder_.AddEmpty(open, item);
    builder_.AddCall(item, Value(), after);
    builder_.AddText(after, "]", to);
    AddSeparator(after, ',', item);
  });
}

StateId JsonRules::Object() {
  return Rule("object", [this](StateId from, StateId to) { AddObject(from, to); });
}

void JsonRules::AddObject(StateId from, StateId to) {
  const StateId open = builder_.AddState(), name = builder_.AddState(), colon = builder_.AddState(),
                value = builder_.AddState(), after = builder_.AddState();
  builder_.AddText(from, "{", open);
  builder_.AddText(open, "}", to);
  builder_.AddEmpty(open, name);
  builder_.AddCall(name, String(), colon);
  AddSeparator(colon, ':', value);
  builder_.AddCall(value, Value(), after);
  builder_.AddText(after, "}", to);
  AddSeparator(after, ',', name);
}

void JsonRules::AddSeparator(StateId from, char separator, StateId to) {
  const StateId space = builder_.AddState();
  builder_.AddText(from, {&separator, 1}, space);
  builder_.AddText(space, " ", to);
  builder_.AddEmpty(space, to);
}

std::string QuotedJson(std::string_view text) {
  return nlohmann::json(text).dump(-1, ' ', /*ensure_ascii=*/false, nlohmann::json::error_handler_t::replace);
}

}  // namespace longspan
