#include "runtime/generation/logits_digest.h"

#include <bit>

#include <xxhash.h>

#include "absl/strings/escaping.h"
#include "kernels/check.h"

namespace longspan {

// The floats are hashed as they lie in memory.
static_assert(std::endian::native == std::endian::little);

LogitsDigest::LogitsDigest() : state_(XXH3_createState()) {
  LONGSPAN_CHECK(state_ != nullptr);
  LONGSPAN_CHECK(XXH3_128bits_reset(state_) == XXH_OK);
}

LogitsDigest::~LogitsDigest() { XXH3_freeState(state_); }

void LogitsDigest::Add(std::span<const float> logits) {
  LONGSPAN_CHECK(XXH3_128bits_update(state_, logits.data(), logits.size_bytes()) == XXH_OK);
}

std::string LogitsDigest::Hex() const {
  XXH128_canonical_t canonical;
  XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest(state_));
  return absl::BytesToHexString(
      absl::string_view(reinterpret_cast<const char*>(canonical.digest), sizeof canonical.digest));
}

}  // namespace longspan
