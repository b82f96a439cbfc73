#include "runtime/tokenizer/gguf_tokenizer.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "kernels/status_macros.h"
#include "runtime/tokenizer/bpe_model.h"
#include "runtime/tokenizer/byte_alphabet.h"
#include "runtime/tokenizer/regex.h"
#include "runtime/tokenizer/split_patterns.h"
#include "runtime/tokenizer/spm_model.h"

namespace longspan {
namespace {

// Values of tokenizer.ggml.token_type. Others stand for ids that no text becomes.
enum class TokenType : int64_t { kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4, kByte = 6 };

TokenType TypeOf(const GgufVocabulary& vocabulary, size_t id) {
  return vocabulary.types.empty() ? TokenType::kNormal : static_cast<TokenType>(vocabulary.types[id]);
}

bool IsSpecialType(TokenType type) { return type == TokenType::kControl || type == TokenType::kUnknown; }

absl::Status Damaged(const GgufVocabulary& vocabulary, const std::string& what) {
  return absl::DataLossError(
      absl::StrCat(vocabulary.origin, ": ", what, "; the file is damaged or was not converted whole"));
}

absl::Status CheckLength(const GgufVocabulary& vocabulary, const char* key, size_t length) {
  if (length == vocabulary.tokens.size()) return absl::OkStatus();
  return Damaged(vocabulary, absl::StrCat("tokenizer.ggml.", key, " has ", length, " values for ",
                                          vocabulary.tokens.size(), " tokens"));
}

absl::StatusOr<std::optional<int32_t>> CheckId(const GgufVocabulary& vocabulary, const char* key,
                                               std::optional<int64_t> id) {
  if (!id.has_value()) return std::optional<int32_t>();
  if (*id < 0 || *id >= static_cast<int64_t>(vocabulary.tokens.size())) {
    return Damaged(vocabulary, absl::StrCat("tokenizer.ggml.", key, " is ", *id, ", outside the ",
                                            vocabulary.tokens.size(), " tokens"));
  }
  return std::optional<int32_t>(static_cast<int32_t>(*id));
}

// The parts that do not depend on the kind of model. `shown(id)` is the text of a token that is not special.
template <typename Shown>
absl::StatusOr<TokenizerParts> MakeCommonParts(const GgufVocabulary& vocabulary, bool adds_bos,
                                               const Shown& shown) {
  TokenizerParts parts;
  size_t num_bytes = 0;
  for (const std::string_view token : vocabulary.tokens) num_bytes += token.size();
  parts.tokens = TokenTable(static_cast<int64_t>(vocabulary.tokens.size()), num_bytes);
  for (size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    if (IsSpecialType(TypeOf(vocabulary, id))) {
      parts.tokens.SetBytes(static_cast<int32_t>(id), vocabulary.tokens[id]);
      parts.tokens.SetSpecial(static_cast<int32_t>(id));
      parts.added.Add(
          {.content = std::string(vocabulary.tokens[id]), .id = static_cast<int32_t>(id), .special = true});
    } else {
      parts.tokens.SetBytes(static_cast<int32_t>(id), shown(id));
    }
  }

  LONGSPAN_ASSIGN_OR_RETURN(parts.bos_id, CheckId(vocabulary, "bos_token_id", vocabulary.bos_id));
  LONGSPAN_ASSIGN_OR_RETURN(const auto eos, CheckId(vocabulary, "eos_token_id", vocabulary.eos_id));
  LONGSPAN_ASSIGN_OR_RETURN(const auto eot, CheckId(vocabulary, "eot_token_id", vocabulary.eot_id));
  LONGSPAN_ASSIGN_OR_RETURN(const auto eom, CheckId(vocabulary, "eom_token_id", vocabulary.eom_id));
  for (const std::optional<int32_t>& id : {eos, eot, eom}) {
    if (!id.has_value()) continue;
    if (std::find(parts.eos_ids.begin(), parts.eos_ids.end(), *id) == parts.eos_ids.end()) {
      parts.eos_ids.push_back(*id);
    }
  }
  if (vocabulary.add_bos.value_or(adds_bos)) {
    if (!parts.bos_id.has_value()) {
      return Damaged(vocabulary, "texts begin with a BOS token, but tokenizer.ggml.bos_token_id is missing");
    }
    parts.prefix.push_back(*parts.bos_id);
  }
  if (vocabulary.add_eos.value_or(false)) {
    if (!eos.has_value()) {
      return Damaged(vocabulary, "texts end with an EOS token, but tokenizer.ggml.eos_token_id is missing");
    }
    parts.suffix.push_back(*eos);
  }
  return parts;
}

absl::StatusOr<TokenizerParts> MakeSpmParts(const GgufVocabulary& vocabulary) {
  LONGSPAN_RETURN_IF_ERROR(CheckLength(vocabulary, "scores", vocabulary.scores.size()));
  if (vocabulary.remove_extra_whitespaces || vocabulary.has_character_map) {
    return absl::UnimplementedError(
        absl::StrCat(vocabulary.origin, ": the tokenizer rewrites text (",
                     vocabulary.has_character_map ? "precompiled_charsmap" : "remove_extra_whitespaces",
                     "), which is not supported; the model runs on token ids"));
  }
  const auto shown = [&](size_t id) -> std::string {
    const std::string_view text = vocabulary.tokens[id];
    if (TypeOf(vocabulary, id) != TokenType::kByte) return WithPlainSpaces(text);
    const std::optional<uint8_t> byte = ParseByteToken(text);
    return byte.has_value() ? std::string(1, static_cast<char>(*byte)) : std::string();
  };
  LONGSPAN_ASSIGN_OR_RETURN(TokenizerParts parts, MakeCommonParts(vocabulary, /*adds_bos=*/true, shown));
  LONGSPAN_ASSIGN_OR_RETURN(const auto unknown,
                            CheckId(vocabulary, "unknown_token_id", vocabulary.unknown_id));

  auto model = std::make_unique<SpmModel>(unknown);
  model->Reserve(vocabulary.tokens.size());
  for (int32_t id = 0; id < parts.tokens.size(); ++id) {
    const std::string_view text = parts.tokens.Bytes(id);
    switch (TypeOf(vocabulary, id)) {
      case TokenType::kNormal:
        model->AddPiece(text, id, vocabulary.scores[id]);
        break;
      case TokenType::kUserDefined:
        model->AddUserDefined(text, id, vocabulary.scores[id]);
        break;
      case TokenType::kByte:
        if (text.empty()) {
          return Damaged(vocabulary, absl::StrCat("token ", id, " is a byte, but its text is '",
                                                  std::string(vocabulary.tokens[id]), "', not <0xNN>"));
        }
        model->AddByte(static_cast<uint8_t>(text.front()), id);
        break;
      default:
        break;
    }
  }
  parts.model = std::move(model);
  parts.strips_leading_space = vocabulary.add_space_prefix.value_or(true);
  if (parts.strips_leading_space) parts.normalizer.Add(MakePrepend(" "));
  return parts;
}

absl::StatusOr<std::unique_ptr<BpeModel>> MakeBpeModel(const GgufVocabulary& vocabulary,
                                                       const SplitRule& rule) {
  BpeModel::Vocabulary tokens;
  tokens.reserve(vocabulary.tokens.size());
  for (size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    if (TypeOf(vocabulary, id) == TokenType::kNormal) {
      tokens.try_emplace(vocabulary.tokens[id], static_cast<int32_t>(id));
    }
  }
  BpeModel::Merges merges;
  merges.reserve(vocabulary.merges.size());
  for (const std::string_view merge : vocabulary.merges) {
    const size_t space = merge.find(' ', 1);
    if (space == merge.npos) {
      return Damaged(vocabulary, absl::StrCat("the merge '", std::string(merge),
                                              "' is not two tokens with a space between"));
    }
    merges.emplace_back(merge.substr(0, space), merge.substr(space + 1));
  }
  auto model = BpeModel::Create(tokens, merges, {.byte_level = true, .ignore_merges = rule.ignores_merges});
  if (!model.ok()) {
    return absl::Status(model.status().code(),
                        absl::StrCat(vocabulary.origin, ": ", model.status().message()));
  }
  return model;
}

absl::StatusOr<TokenizerParts> MakeBytePairParts(const GgufVocabulary& vocabulary) {
  const SplitRule* rule = FindSplitRule(vocabulary.pre.empty() ? "default" : vocabulary.pre);
  if (rule == nullptr) {
    const std::string known =
        absl::StrJoin(SplitRules(), ", ",
                      [](std::string* out, const SplitRule& known_rule) { out->append(known_rule.name); });
    return absl::UnimplementedError(absl::StrCat(
        vocabulary.origin, ": the pre-tokenizer '", std::string(vocabulary.pre),
        "' (tokenizer.ggml.pre) is not supported (supported: ", known, "); the model runs on token ids"));
  }
  const auto shown = [&](size_t id) -> std::string {
    const std::string_view text = vocabulary.tokens[id];
    if (TypeOf(vocabulary, id) == TokenType::kUserDefined) return std::string(text);
    return DecodeByteAlphabet(text).value_or(std::string(text));
  };
  LONGSPAN_ASSIGN_OR_RETURN(TokenizerParts parts, MakeCommonParts(vocabulary, rule->adds_bos, shown));
  for (size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    if (TypeOf(vocabulary, id) != TokenType::kUserDefined) continue;
    parts.added.Add({.content = std::string(vocabulary.tokens[id]), .id = static_cast<int32_t>(id)});
  }
  LONGSPAN_ASSIGN_OR_RETURN(parts.model, MakeBpeModel(vocabulary, *rule));
  for (const std::string_view pattern : rule->patterns) {
    LONGSPAN_ASSIGN_OR_RETURN(std::unique_ptr<Regex> regex, Regex::Compile(pattern));
    parts.pre_tokenizer.Add(MakeSplit(std::move(regex), SplitBehavior::kIsolated, /*invert=*/false));
  }
  if (rule->normalizes) parts.normalizer.Add(MakeNfc());
  return parts;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Tokenizer>> CreateGgufTokenizer(const GgufVocabulary& vocabulary) {
  if (vocabulary.tokens.empty()) return Damaged(vocabulary, "tokenizer.ggml.tokens is empty");
  if (!vocabulary.types.empty()) {
    LONGSPAN_RETURN_IF_ERROR(CheckLength(vocabulary, "token_type", vocabulary.types.size()));
  }
  if (vocabulary.model != "llama" && vocabulary.model != "gpt2") {
    return absl::UnimplementedError(
        absl::StrCat(vocabulary.origin, ": the tokenizer '", std::string(vocabulary.model),
                     "' (tokenizer.ggml.model) is not supported (supported: llama, "
                     "gpt2); the model runs on token ids"));
  }
  LONGSPAN_ASSIGN_OR_RETURN(TokenizerParts parts, vocabulary.model == "llama"
                                                      ? MakeSpmParts(vocabulary)
                                                      : MakeBytePairParts(vocabulary));
  return std::make_unique<TextTokenizer>(std::move(parts));
}

}  // namespace longspan
