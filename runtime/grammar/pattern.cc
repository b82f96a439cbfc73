#include "runtime/grammar/pattern.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "kernels/status_macros.h"
#include "runtime/grammar/json_rules.h"
#include "runtime/grammar/utf8_ranges.h"
#include "runtime/tokenizer/utf8.h"

namespace longspan {
namespace {

constexpr int64_t kMostStates = 50'000;  // of one pattern
constexpr int kMostRepetitions = 1000;   // in {m,n}
constexpr int kMostNested = 50;          // groups
constexpr int64_t kWorkOfAnEdge = 20;    // to read it, beside looking at it once
constexpr int64_t kWorkOfPlainNext = 50'000;
constexpr std::string_view kTooLarge = "it is too large, with the patterns before it";
constexpr uint32_t kLastCode = 0x10FFFF;

struct CodeRange {
  uint32_t first, last;
};
using CodeSet = std::vector<CodeRange>;

const CodeSet kDigits = {{'0', '9'}};
const CodeSet kWord = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
const CodeSet kSpace = {{9, 13},          {' ', ' '},       {0xA0, 0xA0},     {0x1680, 0x1680},
                        {0x2000, 0x200A}, {0x2028, 0x2029}, {0x202F, 0x202F}, {0x205F, 0x205F},
                        {0x3000, 0x3000}, {0xFEFF, 0xFEFF}};
const CodeSet kLineEnds = {{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}};

CodeSet Complement(CodeSet set) {
  std::sort(set.begin(), set.end(), [](const CodeRange& a, const CodeRange& b) { return a.first < b.first; });
  CodeSet rest;
  uint32_t next = 0;
  for (const CodeRange& range : set) {
    if (range.first > next) rest.push_back({next, range.first - 1});
    next = std::max(next, range.last + 1);
  }
  if (next <= kLastCode) rest.push_back({next, kLastCode});
  return rest;
}

// Reads an expression and adds what it accepts, between the quotes, to a builder.
class PatternReader {
 public:
  PatternReader(std::string_view text, AutomatonBuilder* builder) : builder_(*builder) {
    for (size_t at = 0; at < text.size();) {
      const Utf8Step step = DecodeUtf8(text, at);
      text_.push_back(step.code);
      at += step.length;
    }
  }

  absl::Status Add(StateId from, StateId to) {
    do {
      const StateId begin = builder_.AddState(), end = builder_.AddState();
      builder_.AddEmpty(from, begin);
      if (!Take('^')) AddSet({{0, kLastCode}}, begin, begin);
      AddSequence(begin, end, 0);
      if (!Take('$')) AddSet({{0, kLastCode}}, end, end);
      builder_.AddEmpty(end, to);
    } while (Take('|'));
    if (!AtEnd()) Fail(Sees(')') ? "a ')' without its '('" : kOnlyAtEnds);
    return status_;
  }

 private:
  static constexpr int kUnbounded = -1;
  static constexpr std::string_view kOnlyAtEnds =
      "'^' and '$' are supported at the ends of the expression only";

  bool AtEnd() const { return at_ == text_.size() || !status_.ok() || builder_.too_large(); }
  bool Sees(char c) const { return !AtEnd() && text_[at_] == static_cast<uint32_t>(c); }
  bool Take(char c) {
    if (!Sees(c)) return false;
    ++at_;
    return true;
  }
  uint32_t Next() {
    if (AtEnd()) {
      Fail("it ends too early");
      return 0;
    }
    return text_[at_++];
  }
  void Fail(std::string_view what) {
    if (status_.ok())
      status_ = absl::InvalidArgumentError(absl::StrCat(std::string(what), ", at character ", at_));
  }

  void AddAlternatives(StateId from, StateId to, int nested) {
    if (nested > kMostNested) return Fail("groups are nested too deep");
    do {
      AddSequence(from, to, nested);
    } while (Take('|'));
  }

  void AddSequence(StateId from, StateId to, int nested) {
    while (!AtEnd() && !Sees('|') && !Sees(')') && !(Sees('$') && nested == 0)) {
      const StateId next = builder_.AddState();
      AddTerm(from, next, nested);
      from = next;
    }
    builder_.AddEmpty(from, to);
  }

  // An atom and how often it is repeated; it is read again for each time.
  void AddTerm(StateId from, StateId to, int nested) {
    const size_t atom = at_;
    SkipAtom();
    const auto [least, most] = Repetitions();
    const size_t end = at_;
    const auto add_atom = [&](StateId begin, StateId after) {
      at_ = atom;
      AddAtom(begin, after, nested);
    };
    const auto goes_on = [&] { return status_.ok() && !builder_.too_large(); };
    for (int i = 0; i < least && goes_on(); ++i) {
      const StateId next = builder_.AddState();
      add_atom(from, next);
      from = next;
    }
    if (most == kUnbounded) {
      const StateId loop = builder_.AddState(), again = builder_.AddState();
      builder_.AddEmpty(from, loop);
      add_atom(loop, again);
      builder_.AddEmpty(again, loop);
      from = loop;
    }
    for (int i = least; i < most && goes_on(); ++i) {
      builder_.AddEmpty(from, to);
      const StateId next = builder_.AddState();
      add_atom(from, next);
      from = next;
    }
    builder_.AddEmpty(from, to);
    at_ = end;
  }

  void SkipAtom() {
    int groups = 0;
    bool in_class = false;
    do {
      const uint32_t c = Next();
      if (c == '\\') {
        const uint32_t escaped = Next();
        // Inside groups and classes the digits are skipped as characters.
        if (groups == 0 && !in_class) Skip(escaped == 'u' ? 4 : escaped == 'x' ? 2 : 0);
      } else if (in_class) {
        in_class = c != ']';
      } else if (c == '[') {
        in_class = true;
      } else if (c == '(') {
        ++groups;
      } else if (c == ')') {
        --groups;
      } else if (groups == 0 && (c == '*' || c == '+' || c == '?' || c == '{')) {
        Fail("nothing to repeat");
      } else if (c == '^' || c == '$') {
        Fail(kOnlyAtEnds);
      }
    } while (status_.ok() && (groups > 0 || in_class));
  }
  void Skip(int characters) {
    for (int i = 0; i < characters; ++i) Next();
  }

  std::pair<int, int> Repetitions() {
    std::pair<int, int> times = {1, 1};
    if (Take('*')) {
      times = {0, kUnbounded};
    } else if (Take('+')) {
      times = {1, kUnbounded};
    } else if (Take('?')) {
      times = {0, 1};
    } else if (Take('{')) {
      times.first = times.second = Count();
      if (Take(',')) times.second = Sees('}') ? kUnbounded : Count();
      if (!Take('}')) Fail("a '{' without its '}'");
      if (times.second != kUnbounded && times.second < times.first)
        Fail("the numbers in {} are out of order");
    } else {
      return times;
    }
    Take('?');  // which match is preferred does not matter
    return times;
  }

  int Count() {
    int count = 0;
    bool any = false;
    for (; !AtEnd() && text_[at_] >= '0' && text_[at_] <= '9' && count <= kMostRepetitions; any = true) {
      count = count * 10 + static_cast<int>(text_[at_++] - '0');
    }
    if (!any) Fail("a number is missing in {}");
    if (count > kMostRepetitions) Fail(absl::StrCat("more than ", kMostRepetitions, " repetitions"));
    return count;
  }

  void AddAtom(StateId from, StateId to, int nested) {
    const uint32_t c = Next();
    if (c == '(') {
      if (Take('?') && !Take(':')) return Fail("of groups with '?' only (?:...) is supported");
      AddAlternatives(from, to, nested + 1);
      if (!Take(')')) Fail("a '(' without its ')'");
    } else if (c == '[') {
      AddSet(Class(), from, to);
    } else if (c == '.') {
      AddSet(Complement(kLineEnds), from, to);
    } else if (c == '\\') {
      AddSet(Escape(), from, to);
    } else {
      AddSet({{c, c}}, from, to);
    }
  }

  CodeSet Class() {
    const bool negated = Take('^');
    CodeSet set;
    while (!AtEnd() && !Sees(']')) {
      const CodeSet first = ClassAtom();
      if (Sees('-') && at_ + 1 < text_.size() && text_[at_ + 1] != ']') {
        ++at_;
        const CodeSet last = ClassAtom();
        if (!IsSingle(first) || !IsSingle(last) || first[0].first > last[0].first) {
          Fail("a range in [] is out of order");
          return {};
        }
        set.push_back({first[0].first, last[0].first});
      } else {
        set.insert(set.end(), first.begin(), first.end());
      }
    }
    if (!Take(']')) Fail("a '[' without its ']'");
    return negated ? Complement(set) : set;
  }
  CodeSet ClassAtom() {
    const uint32_t c = Next();
    if (c != '\\') return {{c, c}};
    if (Take('b')) return {{'\b', '\b'}};
    return Escape();
  }
  static bool IsSingle(const CodeSet& set) { return set.size() == 1 && set[0].first == set[0].last; }

  CodeSet Escape() {
    const uint32_t c = Next();
    const auto single = [](uint32_t code) { return CodeSet{{code, code}}; };
    switch (c) {
      case 'd':
        return kDigits;
      case 'D':
        return Complement(kDigits);
      case 'w':
        return kWord;
      case 'W':
        return Complement(kWord);
      case 's':
        return kSpace;
      case 'S':
        return Complement(kSpace);
      case 'n':
        return single('\n');
      case 'r':
        return single('\r');
      case 't':
        return single('\t');
      case 'f':
        return single('\f');
      case 'v':
        return single('\v');
      case 'u':
        return single(Hex(4));
      case 'x':
        return single(Hex(2));
      default:
        break;
    }
    if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) {
      Fail(absl::StrCat("\\", std::string(1, static_cast<char>(c)), " is not supported"));
    }
    return single(c);
  }

  uint32_t Hex(int digits) {
    std::string text;
    for (int i = 0; i < digits; ++i) AppendUtf8(Next(), &text);
    uint32_t code = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), code, 16);
    if (error != std::errc() || end != text.data() + text.size())
      Fail("\\u takes four hexadecimal digits, \\x two");
    return code;
  }

  // As a JSON string writes the characters.
  void AddSet(const CodeSet& set, StateId from, StateId to) {
    const auto add = [&](uint32_t first, uint32_t last) {
      if (first <= last) AddUtf8Range(first, last, from, to, &builder_);
    };
    std::vector<std::string> escaped;
    for (const auto& [first, last] : set) {
      for (uint32_t code = first; code <= std::min<uint32_t>(last, '\\'); ++code) {
        if (code >= 0x20 && code != '"' && code != '\\') continue;
        const std::string quoted = QuotedJson(std::string(1, static_cast<char>(code)));
        escaped.push_back(quoted.substr(1, quoted.size() - 2));
      }
      add(std::max<uint32_t>(first, 0x20), std::min<uint32_t>(last, '"' - 1));
      add(std::max<uint32_t>(first, '"' + 1), std::min<uint32_t>(last, '\\' - 1));
      add(std::max<uint32_t>(first, '\\' + 1), last);
    }
    builder_.AddTexts(from, std::move(escaped), to);
  }

  std::vector<uint32_t> text_;
  size_t at_ = 0;
  AutomatonBuilder& builder_;
  absl::Status status_;
};

// Edges of a deterministic automaton, by state; those of a state in order and apart.
using DeterministicEdges = absl::flat_hash_map<StateId, std::vector<ByteEdge>>;

// Whether every character that `characters` reads from `character` on leads from `state` to `target`.
bool AllLeadTo(const Automaton& characters, StateId character, const DeterministicEdges& edges, StateId state,
               StateId target) {
  for (const ByteEdge& part : characters.bytes.of(character)) {
    const bool ends = characters.accepting[static_cast<size_t>(part.target)];
    int next = part.first;  // not looked at yet
    for (const ByteEdge& edge : edges.at(state)) {
      if (edge.last < next) continue;
      if (edge.first > next || next > part.last) break;
      if (ends ? edge.target != target : !AllLeadTo(characters, part.target, edges, edge.target, target)) {
        return false;
      }
      next = edge.last + 1;
    }
    if (next <= part.last) return false;
  }
  return true;
}

// Tells the automaton where all plain characters lead to one state, as after '.'. Only makes masks quicker,
// so it stops when too much work was done.
void SetPlainNext(const DeterministicEdges& edges, AutomatonBuilder* builder, int64_t* work_left) {
  static const Automaton kPlainCharacters = [] {
    AutomatonBuilder characters;
    const StateId start = characters.AddState(), end = characters.AddState();
    characters.Accept(end);
    for (const CodeRange& range : Complement({{0, 0x1F}, {'"', '"'}, {'\\', '\\'}, {0x2028, 0x2029}})) {
      AddUtf8Range(range.first, range.last, start, end, &characters);
    }
    return *characters.Build(start);
  }();
  for (const auto& [state, outgoing] : edges) {
    const auto space = std::find_if(outgoing.begin(), outgoing.end(), [](const ByteEdge& edge) {
      return edge.first <= ' ' && ' ' <= edge.last;
    });
    if (space == outgoing.end()) continue;
    *work_left -= kWorkOfPlainNext;
    if (*work_left < 0) return;
    if (AllLeadTo(kPlainCharacters, kPlainCharacters.start, edges, state, space->target)) {
      builder->SetPlainNext(state, space->target);
    }
  }
}

// Adds a deterministic automaton that accepts the same, so that matching has one thread (the subset
// construction). `nfa` has byte edges only.
absl::Status AddDeterministic(const Automaton& nfa, StateId from, StateId to, AutomatonBuilder* builder,
                              int64_t* work_left) {
  using Subset = std::vector<StateId>;  // sorted
  std::map<Subset, StateId> states;
  DeterministicEdges edges;
  std::vector<const Subset*> pending;
  const auto state_of = [&](Subset subset) {
    const auto [entry, is_new] = states.try_emplace(std::move(subset), 0);
    if (is_new) {
      entry->second = states.size() == 1 ? from : builder->AddState();
      pending.push_back(&entry->first);
    }
    return entry->second;
  };
  state_of({nfa.start});
  while (!pending.empty()) {
    const Subset& subset = *pending.back();
    const StateId state = states.at(subset);
    pending.pop_back();
    std::vector<ByteEdge> outgoing;
    std::array<bool, 257> begins{};  // of ranges of bytes that lead to the same states
    for (const StateId s : subset) {
      if (nfa.accepting[static_cast<size_t>(s)]) builder->AddEmpty(state, to);
      for (const ByteEdge& edge : nfa.bytes.of(s)) begins[edge.first] = begins[edge.last + size_t{1}] = true;
    }
    for (size_t first = 0; first < 256;) {
      size_t end = first + 1;
      while (end < 256 && !begins[end]) ++end;
      Subset next;
      for (const StateId s : subset) {
        for (const ByteEdge& edge : nfa.bytes.of(s)) {
          if (edge.first <= first && first <= edge.last) next.push_back(edge.target);
        }
        *work_left -= static_cast<int64_t>(nfa.bytes.of(s).size());
      }
      std::sort(next.begin(), next.end());
      next.erase(std::unique(next.begin(), next.end()), next.end());
      *work_left -= static_cast<int64_t>(next.size());
      if (!next.empty()) {
        outgoing.push_back(
            {static_cast<uint8_t>(first), static_cast<uint8_t>(end - 1), state_of(std::move(next))});
        builder->AddBytes(state, outgoing.back().first, outgoing.back().last, outgoing.back().target);
      }
      first = end;
    }
    edges.emplace(state, std::move(outgoing));
    if (states.size() > kMostStates || *work_left < 0)
      return absl::InvalidArgumentError(std::string(kTooLarge));
  }
  if (!builder->too_large()) SetPlainNext(edges, builder, work_left);
  return absl::OkStatus();
}

}  // namespace

absl::Status AddPattern(std::string_view pattern, StateId from, StateId to, AutomatonBuilder* builder,
                        int64_t* work_left) {
  AutomatonBuilder local(kMostStates);
  const StateId start = local.AddState();
  const StateId open = local.AddState();
  const StateId close = local.AddState();
  const StateId end = local.AddState();
  local.Accept(end);
  local.AddText(start, "\"", open);
  local.AddText(close, "\"", end);
  LONGSPAN_RETURN_IF_ERROR(PatternReader(pattern, &local).Add(open, close));
  const absl::StatusOr<Automaton> nfa = local.Build(start);
  if (!nfa.ok()) return absl::InvalidArgumentError(std::string(kTooLarge));
  *work_left -= kWorkOfAnEdge * static_cast<int64_t>(nfa->bytes.edges.size());
  return AddDeterministic(*nfa, from, to, builder, work_left);
}

std::string_view PatternOfFormat(std::string_view format) {
  // Each accepts a part of what the format does: no 29 February, say.
  static const std::map<std::string_view, std::string> kFormats = [] {
    const std::string date =
        "[12]\\d{3}-((0[13578]|1[02])-(0[1-9]|[12]\\d|3[01])|(0[469]|11)-(0[1-9]|[12]\\d|30)|"
        "02-(0[1-9]|1\\d|2[0-8]))";
    const std::string hour = "([01]\\d|2[0-3])";
    const std::string time = hour + ":[0-5]\\d:[0-5]\\d(\\.\\d{1,9})?(Z|[+-]" + hour + ":[0-5]\\d)";
    const std::string duration =
        "P(\\d{1,4}W|(\\d{1,4}D|\\d{1,4}Y(\\d{1,2}M(\\d{1,2}D)?)?|\\d{1,4}M(\\d{1,2}D)?)(T\\d{1,2}H)?|"
        "T(\\d{1,4}H(\\d{1,2}M(\\d{1,2}S)?)?|\\d{1,4}M(\\d{1,2}S)?|\\d{1,4}S))";
    const std::string label = "[A-Za-z0-9]{1,20}(-[A-Za-z0-9]{1,20}){0,2}";
    const std::string host = label + "(\\." + label + "){0,3}";
    const std::string word = "[A-Za-z0-9_+-]{1,20}";
    const std::string octet = "(25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)";
    const std::string group = "[0-9A-Fa-f]{1,4}";
    std::map<std::string_view, std::string> formats = {
        {"date", date},
        {"date-time", date + "T" + time},
        {"duration", duration},
        {"email", word + "(\\." + word + "){0,2}@" + host},
        {"hostname", host},
        {"ipv4", "(" + octet + "\\.){3}" + octet},
        {"ipv6", "(" + group + "(:" + group + "){7}|::(" + group + "(:" + group + "){0,5})?)"},
        {"time", time},
        {"uri", "https?://" + host + "(/[A-Za-z0-9._~-]*)*"},
        {"uuid", "[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"},
    };
    for (auto& [name, pattern] : formats) pattern = "^" + pattern + "$";
    return formats;
  }();
  const auto found = kFormats.find(format);
  return found != kFormats.end() ? std::string_view(found->second) : std::string_view();
}

}  // namespace longspan
