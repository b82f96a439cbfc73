// The rules by which well-known byte-level vocabularies cut a text, under the names that GGUF files give
// them.
#pragma once

#include <span>
#include <string_view>

namespace longspan {

struct SplitRule {
  std::string_view name;
  std::string_view pattern;  // a regular expression; each match is a piece
  bool normalizes;           // the text is brought to NFC first
  bool ignores_merges;       // a piece that is a token needs no merges
  bool adds_bos;             // where the file does not say
};

// Words with the space before them, numbers, other signs, white space.
extern const std::string_view kGpt2Pattern;

std::span<const SplitRule> SplitRules();

// Null for a name that is not known.
const SplitRule* FindSplitRule(std::string_view name);

}  // namespace longspan
