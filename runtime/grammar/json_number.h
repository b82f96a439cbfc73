// Numbers of JSON between bounds.
//
// They have 15 digits at most, so that each is another double and reads back as it was written. An exponent
// is allowed only where no bound and no divisor is given; then it has two digits at most.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "runtime/grammar/automaton.h"

namespace longspan {

inline constexpr int kMostNumberDigits = 15;

// A number written out, without an exponent.
struct Decimal {
  bool negative = false;
  std::string whole = "0";  // no zero in front of other digits
  std::string fraction;
};

// From a number as JSON writes it.
Decimal ParseDecimal(const std::string& json);

struct NumberBound {
  Decimal value;
  bool exclusive = false;
};

struct NumberLimits {
  bool integer = false;
  std::optional<NumberBound> least;
  std::optional<NumberBound> most;
  int64_t multiple_of = 1;  // above 1: whole numbers only
};

void AddJsonNumber(const NumberLimits& limits, StateId from, StateId to, AutomatonBuilder* builder);

}  // namespace longspan
