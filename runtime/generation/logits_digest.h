// A digest of logits, to compare runs bit for bit without keeping them.
#pragma once

#include <memory>
#include <span>
#include <string>

struct XXH3_state_s;

namespace longspan {

// XXH3-128 over the little-endian float32 values of all rows, one after the other.
class LogitsDigest {
 public:
  LogitsDigest();
  ~LogitsDigest();
  LogitsDigest(const LogitsDigest&) = delete;
  LogitsDigest& operator=(const LogitsDigest&) = delete;

  void Add(std::span<const float> logits);
  // 32 hexadecimal digits, the canonical (big-endian) form, of what was added so far.
  std::string Hex() const;

 private:
  XXH3_state_s* state_;
};

}  // namespace longspan
