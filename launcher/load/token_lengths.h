// How many tokens prompts and answers have.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "launcher/load/random.h"

namespace longspan::load {

class TokenLengths {
 public:
  // "512": always that; "16-8000": uniform, both ends included; "1000+-200" or "1000±200": normal with this
  // mean and standard deviation, drawn again beyond three deviations or below 1. InvalidArgument otherwise.
  static absl::StatusOr<TokenLengths> Parse(std::string_view text);

  int64_t Sample(Random& random) const;
  const std::string& text() const { return text_; }

 private:
  enum class Kind { kFixed, kUniform, kNormal };

  std::string text_;
  Kind kind_ = Kind::kFixed;
  int64_t first_ = 1, second_ = 1;  // the length; least and most; mean and deviation
};

}  // namespace longspan::load
