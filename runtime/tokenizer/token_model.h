// From a piece of normalised text to token ids: the step that the vocabulary decides.
//
// Threads: immutable; may be called from any thread.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace longspan {

class TokenModel {
 public:
  virtual ~TokenModel() = default;

  // Appends the ids of each piece, in order. Pieces are UTF-8; no token crosses from one to the next.
  virtual void Encode(std::span<const std::string_view> pieces, std::vector<int32_t>* ids) const = 0;
};

}  // namespace longspan
