// The steps of a tokenizer.json, from their JSON. A step that is not supported is an Unimplemented error that
// names it; a setting of the wrong type is an InvalidArgument error. `origin` names the file. A null node is
// no step.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/tokenizer/normalizer.h"
#include "runtime/tokenizer/pre_tokenizer.h"

namespace longspan {

absl::Status AddNormalizerSteps(const nlohmann::json& node, const std::string& origin,
                                Normalizer* normalizer);

// Sets `byte_level` when the last step writes its pieces in the byte alphabet, which the model then does.
absl::Status AddPreTokenizerSteps(const nlohmann::json& node, const std::string& origin,
                                  PreTokenizer* pre_tokenizer, bool* byte_level);

// What a token's text shows, and what happens to the start of the whole text.
struct DecoderRules {
  bool byte_alphabet = false;                                     // texts are written in the byte alphabet
  bool byte_fallback = false;                                     // <0xNN> is a byte
  std::vector<std::pair<std::string, std::string>> replacements;  // in each token
  bool strips_leading_space = false;

  std::string Shown(std::string_view text) const;
};
absl::StatusOr<DecoderRules> ParseDecoder(const nlohmann::json& node, const std::string& origin);

// The ids that go around a text.
struct SurroundingIds {
  std::vector<int32_t> prefix;
  std::vector<int32_t> suffix;
};
absl::StatusOr<SurroundingIds> ParsePostProcessor(const nlohmann::json& node, const std::string& origin);

// The one character that Metaspace writes for a space.
absl::StatusOr<std::string> ParseMetaspaceReplacement(const nlohmann::json& metaspace,
                                                      const std::string& origin);

// When Metaspace writes a space before a text.
absl::StatusOr<PrependScheme> ParsePrependScheme(const nlohmann::json& metaspace, const std::string& origin);

// The member of an object, or null when there is none.
const nlohmann::json& MemberOrNull(const nlohmann::json& object, const char* key);

// The error for a step or setting that Longspan does not have.
absl::Status UnsupportedStep(const std::string& origin, const char* what, const std::string& name);

}  // namespace longspan
