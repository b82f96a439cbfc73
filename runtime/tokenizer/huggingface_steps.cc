#include "runtime/tokenizer/huggingface_steps.h"

#include <memory>

#include "absl/strings/str_cat.h"
#include "kernels/status_macros.h"
#include "runtime/model/field_reader.h"
#include "runtime/tokenizer/regex.h"
#include "runtime/tokenizer/split_patterns.h"
#include "runtime/tokenizer/utf8.h"

namespace longspan {
namespace {

using Json = nlohmann::json;

// {"String": text} or {"Regex": expression}.
absl::StatusOr<std::unique_ptr<Regex>> ParsePattern(const Json& step, const std::string& origin) {
  JsonFieldReader pattern(MemberOrNull(step, "pattern"), origin, "pattern.");
  const std::string expression = pattern.Text("Regex", "");
  const std::string literal = pattern.Text("String", "");
  LONGSPAN_RETURN_IF_ERROR(pattern.status());
  if (expression.empty() == literal.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(origin, ": a step of type '", JsonFieldReader(step, origin).Text("type", ""),
                     "' needs a pattern that is either a String or a Regex and not empty"));
  }
  absl::StatusOr<std::unique_ptr<Regex>> regex =
      literal.empty() ? Regex::Compile(expression) : Regex::CompileLiteral(literal);
  if (!regex.ok()) {
    return absl::Status(regex.status().code(), absl::StrCat(origin, ": ", regex.status().message()));
  }
  return regex;
}

absl::StatusOr<std::unique_ptr<PreTokenizerStep>> MakeIsolatingSplit(std::string_view pattern) {
  LONGSPAN_ASSIGN_OR_RETURN(std::unique_ptr<Regex> regex, Regex::Compile(pattern));
  return MakeSplit(std::move(regex), SplitBehavior::kIsolated, /*invert=*/false);
}

absl::Status AddSplit(const Json& node, const std::string& origin, PreTokenizer* pre_tokenizer) {
  static constexpr std::pair<std::string_view, SplitBehavior> kBehaviors[] = {
      {"Removed", SplitBehavior::kRemoved},
      {"Isolated", SplitBehavior::kIsolated},
      {"MergedWithPrevious", SplitBehavior::kMergedWithPrevious},
      {"MergedWithNext", SplitBehavior::kMergedWithNext},
      {"Contiguous", SplitBehavior::kContiguous},
  };
  JsonFieldReader reader(node, origin, "Split.");
  const std::string name = reader.Text("behavior", "");
  const bool invert = reader.Flag("invert", false);
  LONGSPAN_RETURN_IF_ERROR(reader.status());
  for (const auto& [known, behavior] : kBehaviors) {
    if (known != name) continue;
    LONGSPAN_ASSIGN_OR_RETURN(std::unique_ptr<Regex> pattern, ParsePattern(node, origin));
    pre_tokenizer->Add(MakeSplit(std::move(pattern), behavior, invert));
    return absl::OkStatus();
  }
  return UnsupportedStep(origin, "Split behavior", name);
}

absl::Status AddMetaspace(const Json& node, const std::string& origin, PreTokenizer* pre_tokenizer) {
  MetaspaceOptions options;
  JsonFieldReader reader(node, origin, "Metaspace.");
  const bool split = reader.Flag("split", true);
  LONGSPAN_RETURN_IF_ERROR(reader.status());
  LONGSPAN_ASSIGN_OR_RETURN(options.replacement, ParseMetaspaceReplacement(node, origin));
  LONGSPAN_ASSIGN_OR_RETURN(options.scheme, ParsePrependScheme(node, origin));
  if (split) {
    LONGSPAN_ASSIGN_OR_RETURN(std::unique_ptr<Regex> pattern, Regex::CompileLiteral(options.replacement));
    options.split = MakeSplit(std::move(pattern), SplitBehavior::kMergedWithNext, /*invert=*/false);
  }
  pre_tokenizer->Add(MakeMetaspace(std::move(options)));
  return absl::OkStatus();
}

absl::Status AddByteLevel(const Json& node, const std::string& origin, PreTokenizer* pre_tokenizer) {
  JsonFieldReader reader(node, origin, "ByteLevel.");
  const bool add_prefix_space = reader.Flag("add_prefix_space", true);
  const bool use_regex = reader.Flag("use_regex", true);
  LONGSPAN_RETURN_IF_ERROR(reader.status());
  if (add_prefix_space) pre_tokenizer->Add(MakePrefixSpace());
  if (use_regex) {
    LONGSPAN_ASSIGN_OR_RETURN(auto split, MakeIsolatingSplit(kGpt2Pattern));
    pre_tokenizer->Add(std::move(split));
  }
  return absl::OkStatus();
}

absl::Status AddDigits(const Json& node, const std::string& origin, PreTokenizer* pre_tokenizer) {
  JsonFieldReader reader(node, origin, "Digits.");
  const bool individual = reader.Flag("individual_digits", false);
  LONGSPAN_RETURN_IF_ERROR(reader.status());
  LONGSPAN_ASSIGN_OR_RETURN(auto split, MakeIsolatingSplit(individual ? "\\p{N}" : "\\p{N}+"));
  pre_tokenizer->Add(std::move(split));
  return absl::OkStatus();
}

}  // namespace

const Json& MemberOrNull(const Json& object, const char* key) {
  static const Json kNull;
  const auto found = object.find(key);
  return found == object.end() ? kNull : *found;
}

absl::Status UnsupportedStep(const std::string& origin, const char* what, const std::string& name) {
  return absl::UnimplementedError(
      absl::StrCat(origin, ": the ", what, " '", name, "' is not supported; the model runs on token ids"));
}

// Older files say add_prefix_space, newer ones prepend_scheme.
absl::StatusOr<PrependScheme> ParsePrependScheme(const Json& node, const std::string& origin) {
  JsonFieldReader reader(node, origin, "Metaspace.");
  const std::string scheme =
      reader.Text("prepend_scheme", reader.Flag("add_prefix_space", true) ? "always" : "never");
  LONGSPAN_RETURN_IF_ERROR(reader.status());
  if (scheme == "always") return PrependScheme::kAlways;
  if (scheme == "first") return PrependScheme::kFirst;
  if (scheme == "never") return PrependScheme::kNever;
  return UnsupportedStep(origin, "Metaspace prepend_scheme", scheme);
}

absl::StatusOr<std::string> ParseMetaspaceReplacement(const Json& node, const std::string& origin) {
  JsonFieldReader reader(node, origin, "Metaspace.");
  const std::string replacement = reader.Text("replacement", "\xE2\x96\x81");
  LONGSPAN_RETURN_IF_ERROR(reader.status());
  if (replacement.empty() || DecodeUtf8(replacement, 0).length != replacement.size()) {
    return UnsupportedStep(origin, "Metaspace replacement", replacement);
  }
  return replacement;
}

absl::Status AddNormalizerSteps(const Json& node, const std::string& origin, Normalizer* normalizer) {
  if (node.is_null()) return absl::OkStatus();
  JsonFieldReader reader(node, origin, "normalizer.");
  const std::string type = reader.Text("type", "");
  if (type == "Sequence") {
    for (const Json& step : MemberOrNull(node, "normalizers")) {
      LONGSPAN_RETURN_IF_ERROR(AddNormalizerSteps(step, origin, normalizer));
    }
  } else if (type == "Prepend") {
    normalizer->Add(MakePrepend(reader.Text("prepend", "")));
  } else if (type == "Replace") {
    LONGSPAN_ASSIGN_OR_RETURN(std::unique_ptr<Regex> pattern, ParsePattern(node, origin));
    normalizer->Add(MakeReplace(std::move(pattern), reader.Text("content", "")));
  } else if (type == "NFC") {
    normalizer->Add(MakeNfc());
  } else {
    return UnsupportedStep(origin, "normalizer", type);
  }
  return reader.status();
}

absl::Status AddPreTokenizerSteps(const Json& node, const std::string& origin, PreTokenizer* pre_tokenizer,
                                  bool* byte_level) {
  if (node.is_null()) return absl::OkStatus();
  const std::string type = JsonFieldReader(node, origin, "pre_tokenizer.").Text("type", "");
  if (*byte_level) return UnsupportedStep(origin, "pre-tokenizer after ByteLevel", type);
  if (type == "Sequence") {
    for (const Json& step : MemberOrNull(node, "pretokenizers")) {
      LONGSPAN_RETURN_IF_ERROR(AddPreTokenizerSteps(step, origin, pre_tokenizer, byte_level));
    }
    return absl::OkStatus();
  }
  if (type == "ByteLevel") {
    *byte_level = true;
    return AddByteLevel(node, origin, pre_tokenizer);
  }
  if (type == "Split") return AddSplit(node, origin, pre_tokenizer);
  if (type == "Metaspace") return AddMetaspace(node, origin, pre_tokenizer);
  if (type == "Digits") return AddDigits(node, origin, pre_tokenizer);
  return UnsupportedStep(origin, "pre-tokenizer", type);
}

}  // namespace longspan
