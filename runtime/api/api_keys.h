// Who may use the server: keys of which only hashes are kept.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace longspan {

// Threads: immutable.
class ApiKeys {
 public:
  // A text with the SHA-256 of a key on each line, as `printf %s "$KEY" | sha256sum` prints it: 64
  // hexadecimal digits, perhaps a name after them. Empty lines and lines that begin with # are skipped.
  // Errors name `origin` and the line, never what it holds.
  static absl::StatusOr<ApiKeys> Parse(std::string_view text, const std::string& origin);

  // Whether a request with this Authorization header ("Bearer KEY") may pass. Takes the same time for every
  // key of a length, right or wrong.
  bool Allows(std::string_view authorization) const;

 private:
  using Hash = std::array<uint8_t, 32>;
  std::vector<Hash> hashes_;
};

}  // namespace longspan
