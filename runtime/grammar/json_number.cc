#include "runtime/grammar/json_number.h"

#include <algorithm>
#include <compare>
#include <cstdlib>
#include <map>
#include <string_view>
#include <utility>
#include <vector>

namespace longspan {
namespace {

// -1, 0, 1: below the bound, its beginning, above.
using Comparison = int;

struct Digits {
  int whole;               // how many
  int fraction;            // likewise; -1 without a point
  bool zero;               // the whole part is 0
  Comparison least, most;  // of the digits with as many of the bound; from the point on, of the number
  int64_t remainder;

  auto operator<=>(const Digits&) const = default;
};

// Numbers without a sign between two bounds, as an automaton whose states are what matters of the digits
// read.
class Magnitudes {
 public:
  Magnitudes(NumberBound least, NumberBound most, const NumberLimits& limits, StateId to,
             AutomatonBuilder* builder)
      : least_(std::move(least)), most_(std::move(most)), limits_(limits), to_(to), builder_(*builder) {}

  void AddFrom(StateId from) {
    AddDigits({.whole = 0, .fraction = -1, .zero = false, .least = 0, .most = 0, .remainder = 0}, from);
    while (!pending_.empty() && !builder_.too_large()) {
      const auto [digits, state] = pending_.back();
      pending_.pop_back();
      Expand(digits, state);
    }
  }

 private:
  static Comparison Compare(Comparison before, char digit, std::string_view bound, size_t at) {
    if (before != 0) return before;
    const char of_bound = at < bound.size() ? bound[at] : '0';
    return digit < of_bound ? -1 : digit > of_bound ? 1 : 0;
  }
  // Of the number, whose whole part is known.
  static Comparison CompareWhole(int digits, Comparison prefix, const NumberBound& bound) {
    const auto of_bound = static_cast<int>(bound.value.whole.size());
    return digits < of_bound ? -1 : digits > of_bound ? 1 : prefix;
  }
  static bool GoesOn(const NumberBound& bound, int fraction) {  // after so many digits, with more than zeros
    const size_t at = std::min(bound.value.fraction.size(), static_cast<size_t>(std::max(fraction, 0)));
    return bound.value.fraction.find_first_not_of('0', at) != std::string::npos;
  }

  // As of the point.
  Digits Settled(Digits digits) const {
    if (digits.fraction >= 0) return digits;
    digits.least = CompareWhole(digits.whole, digits.least, least_);
    digits.most = CompareWhole(digits.whole, digits.most, most_);
    return digits;
  }

  bool Accepts(const Digits& unsettled) const {
    const Digits d = Settled(unsettled);
    if (d.fraction == 0 || d.remainder != 0) return false;
    const bool above = d.least > 0 || (d.least == 0 && !GoesOn(least_, d.fraction) && !least_.exclusive);
    const bool below = d.most < 0 || (d.most == 0 && (GoesOn(most_, d.fraction) || !most_.exclusive));
    return above && below;
  }

  void Expand(const Digits& digits, StateId state) {
    if (Accepts(digits)) {
      builder_.AddEmpty(state, to_);
      if (HasExponent()) builder_.AddEmpty(state, Exponent());
    }
    const int room = kMostNumberDigits - digits.whole - std::max(digits.fraction, 0);
    if (room > 0 && (digits.fraction >= 0 || !digits.zero)) AddDigits(digits, state);
    if (room > 0 && digits.fraction < 0 && !limits_.integer && limits_.multiple_of == 1) {
      Digits next = Settled(digits);
      next.fraction = 0;
      if (next.most <= 0 && next.least >= 0) builder_.AddBytes(state, '.', '.', StateOf(next));
    }
  }

  void AddDigits(const Digits& digits, StateId state) {
    for (char digit = '0'; digit <= '9'; ++digit) {
      Digits next = digits;
      if (digits.fraction < 0) {
        const auto at = static_cast<size_t>(next.whole++);
        next.zero = digits.whole == 0 && digit == '0';
        next.least = Compare(digits.least, digit, least_.value.whole, at);
        next.most = Compare(digits.most, digit, most_.value.whole, at);
        if (next.whole > static_cast<int>(least_.value.whole.size())) next.least = 1;
        if (CompareWhole(next.whole, next.most, most_) > 0) continue;
        next.remainder = (digits.remainder * 10 + (digit - '0')) % limits_.multiple_of;
      } else {
        const auto at = static_cast<size_t>(next.fraction++);
        next.least = Compare(digits.least, digit, least_.value.fraction, at);
        next.most = Compare(digits.most, digit, most_.value.fraction, at);
        if (next.least < 0 || next.most > 0) continue;
      }
      builder_.AddBytes(state, static_cast<uint8_t>(digit), static_cast<uint8_t>(digit), StateOf(next));
    }
  }

  StateId StateOf(const Digits& digits) {
    const auto [entry, is_new] = states_.try_emplace(digits, 0);
    if (is_new) {
      entry->second = builder_.AddState();
      pending_.emplace_back(digits, entry->second);
    }
    return entry->second;
  }

  bool HasExponent() const {
    return !limits_.integer && !limits_.least && !limits_.most && limits_.multiple_of == 1;
  }
  StateId Exponent() {
    if (exponent_ < 0) {
      exponent_ = builder_.AddState();
      const StateId sign = builder_.AddState(), tens = builder_.AddState(), ones = builder_.AddState();
      for (const char* e : {"e", "E"}) builder_.AddText(exponent_, e, sign);
      for (const char* s : {"+", "-", ""}) builder_.AddText(sign, s, tens);
      builder_.AddBytes(tens, '0', '9', ones);
      builder_.AddBytes(ones, '0', '9', to_);
      builder_.AddEmpty(ones, to_);
    }
    return exponent_;
  }

  const NumberBound least_, most_;
  const NumberLimits& limits_;
  const StateId to_;
  AutomatonBuilder& builder_;
  StateId exponent_ = -1;
  std::map<Digits, StateId> states_;
  std::vector<std::pair<Digits, StateId>> pending_;
};

}  // namespace

Decimal ParseDecimal(const std::string& json) {
  Decimal decimal;
  std::string_view text = json;
  decimal.negative = text.starts_with('-');
  if (decimal.negative) text.remove_prefix(1);
  int exponent = 0;
  if (const size_t e = text.find_first_of("eE"); e != std::string_view::npos) {
    exponent = std::atoi(std::string(text.substr(e + 1)).c_str());
    text = text.substr(0, e);
  }
  const size_t point = std::min(text.find('.'), text.size());
  std::string digits(text.substr(0, point));
  if (point < text.size()) digits += text.substr(point + 1);
  int whole = static_cast<int>(point) + exponent;
  if (whole < 0) digits.insert(0, static_cast<size_t>(-whole), '0'), whole = 0;
  if (whole > static_cast<int>(digits.size())) digits.append(static_cast<size_t>(whole) - digits.size(), '0');
  decimal.whole = digits.substr(0, static_cast<size_t>(whole));
  decimal.fraction = digits.substr(static_cast<size_t>(whole));
  decimal.whole.erase(0, decimal.whole.find_first_not_of('0'));
  if (decimal.whole.empty()) decimal.whole.push_back('0');
  if (decimal.whole == "0" && decimal.fraction.find_first_not_of('0') == std::string::npos) {
    decimal.negative = false;
  }
  return decimal;
}

void AddJsonNumber(const NumberLimits& limits, StateId from, StateId to, AutomatonBuilder* builder) {
  NumberBound largest;
  largest.value.whole.assign(kMostNumberDigits, '9');
  const auto magnitude = [&](NumberBound bound) {
    bound.value.negative = false;
    return bound.value.whole.size() > kMostNumberDigits ? largest : bound;
  };
  if (!limits.most || !limits.most->value.negative) {
    const NumberBound least = limits.least && !limits.least->value.negative ? *limits.least : NumberBound{};
    Magnitudes(least, limits.most ? magnitude(*limits.most) : largest, limits, to, builder).AddFrom(from);
  }
  if (!limits.least || limits.least->value.negative) {
    const StateId minus = builder->AddState();
    builder->AddBytes(from, '-', '-', minus);
    NumberBound least;
    least.exclusive = true;  // zero has no sign
    if (limits.most && limits.most->value.negative) least = magnitude(*limits.most);
    Magnitudes(least, limits.least ? magnitude(*limits.least) : largest, limits, to, builder).AddFrom(minus);
  }
}

}  // namespace longspan
