#include "runtime/api/api_keys.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace longspan {
namespace {

constexpr std::string_view kBearer = "Bearer ";

}  // namespace

absl::StatusOr<ApiKeys> ApiKeys::Parse(std::string_view text, const std::string& origin) {
  ApiKeys keys;
  int number = 0;
  for (const absl::string_view line : absl::StrSplit(absl::string_view(text.data(), text.size()), '\n')) {
    ++number;
    const absl::string_view content = absl::StripAsciiWhitespace(line);
    if (content.empty() || content.front() == '#') continue;
    const absl::string_view digits = content.substr(0, content.find_first_of(" \t"));
    Hash& hash = keys.hashes_.emplace_back();
    bool sound = digits.size() == 2 * hash.size();
    for (const char c : digits) sound = sound && absl::ascii_isxdigit(static_cast<unsigned char>(c));
    if (!sound) {
      return absl::InvalidArgumentError(
          absl::StrCat(origin, ":", number,
                       ": is not the SHA-256 of a key, 64 hexadecimal digits; make the line with: printf %s "
                       "\"$KEY\" | sha256sum"));
    }
    const std::string bytes = absl::HexStringToBytes(digits);
    std::copy(bytes.begin(), bytes.end(), hash.begin());
  }
  if (keys.hashes_.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(origin, ": holds no keys, so nobody could use the server"));
  }
  return keys;
}

bool ApiKeys::Allows(std::string_view authorization) const {
  if (!absl::StartsWithIgnoreCase(absl::string_view(authorization.data(), authorization.size()),
                                  absl::string_view(kBearer.data(), kBearer.size()))) {
    return false;
  }
  const std::string_view key = authorization.substr(kBearer.size());
  Hash hash;
  SHA256(reinterpret_cast<const uint8_t*>(key.data()), key.size(), hash.data());
  bool found = false;
  for (const Hash& known : hashes_) found |= CRYPTO_memcmp(known.data(), hash.data(), hash.size()) == 0;
  return found;
}

}  // namespace longspan
