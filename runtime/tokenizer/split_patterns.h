// The rules by which published byte-level vocabularies cut a text, under the names that GGUF files give them
// (tokenizer.ggml.pre). The expressions are those of the models' own tokenizer.json files.
#pragma once

#include <span>
#include <string_view>

namespace longspan {

struct SplitRule {
  std::string_view name;
  std::span<const std::string_view>
      patterns;                 // each match is a piece; each looks at what the ones before it left
  bool normalizes = false;      // the text is brought to NFC first
  bool ignores_merges = false;  // a piece that is a token needs no merges
  bool adds_bos = false;        // where the file does not say
};

// Words with the space before them, numbers, other signs, white space.
extern const std::string_view kGpt2Pattern;

std::span<const SplitRule> SplitRules();

// Null for a name that is not known.
const SplitRule* FindSplitRule(std::string_view name);

}  // namespace longspan
