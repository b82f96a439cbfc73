// How the interpreter fails, and what keeps it within bounds.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace longspan::jinja {

// Thrown inside the interpreter only: Template (template.h) turns it into a status.
struct Error {
  absl::StatusCode code = absl::StatusCode::kInvalidArgument;
  std::string message;
  int line = 0;         // of the template; 0: where the interpreter stands
  bool raised = false;  // by the template itself, with raise_exception
};

std::string Concatenate(std::initializer_list<std::string_view> parts);

// What Python or jinja2 would raise an exception for.
[[noreturn]] void Fail(std::initializer_list<std::string_view> parts);
// Bounds that were reached.
[[noreturn]] void Exhausted(std::initializer_list<std::string_view> parts);
// Parts of the language that are left out.
[[noreturn]] void Unsupported(std::initializer_list<std::string_view> parts, int line = 0);

// Nesting of expressions, blocks and values. Deeper ones would need the stack of deep recursion.
inline constexpr int kMaxNesting = 200;
// Evaluation, through macros that call each other.
inline constexpr int kMaxEvaluationDepth = 500;

// Counts work down: about one unit for each byte or 1/16 of an item that is looked at or made, and 32 for
// each step of the template. This bounds time and memory together.
class Meter {
 public:
  explicit Meter(int64_t units) : left_(units) {}

  void Charge(size_t units) {
    if (units > static_cast<size_t>(left_)) Exhausted({"the template needs more work than is allowed"});
    left_ -= static_cast<int64_t>(units);
  }
  // For `count` pieces of `size` units each.
  void Charge(size_t count, size_t size) {
    if (size != 0 && count > static_cast<size_t>(left_) / size) Charge(static_cast<size_t>(left_) + 1);
    Charge(count * size);
  }
  void ChargeItems(size_t count) { Charge(count, 16); }

 private:
  int64_t left_;
};

}  // namespace longspan::jinja
