// The regular expressions of tokenizer.json files are Oniguruma's (github.com/kkos/oniguruma, doc/RE), which
// reads some things otherwise than PCRE2 does: what \s and \w take, what \h and \v stand for, sets of
// scripts, repeated ranges.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace longspan {

// The expression, so that PCRE2 (UTF, Unicode properties, ^ and $ at line ends) reads it as Oniguruma would.
// What has no such form is an Unimplemented error that quotes the expression and names the part.
absl::StatusOr<std::string> OnigurumaToPcre2(std::string_view pattern);

}  // namespace longspan
