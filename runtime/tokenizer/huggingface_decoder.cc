// What goes back from ids to text, and around a text: "decoder" and "post_processor".
#include <cstdint>
#include <optional>

#include "absl/strings/str_cat.h"
#include "kernels/status_macros.h"
#include "runtime/model/field_reader.h"
#include "runtime/tokenizer/bpe_model.h"
#include "runtime/tokenizer/byte_alphabet.h"
#include "runtime/tokenizer/huggingface_steps.h"

namespace longspan {
namespace {

using Json = nlohmann::json;

// Reads decoder steps in order. Steps before Fuse see each token alone, steps after it the whole text.
class DecoderParser {
 public:
  explicit DecoderParser(const std::string& origin) : origin_(origin) {}

  absl::Status Parse(const Json& node) {
    JsonFieldReader reader(node, origin_, "decoder.");
    const std::string type = reader.Text("type", "");
    if (type == "Sequence") {
      for (const Json& step : MemberOrNull(node, "decoders")) LONGSPAN_RETURN_IF_ERROR(Parse(step));
    } else if (type == "ByteLevel") {
      rules_.byte_alphabet = true;
    } else if (type == "ByteFallback") {
      rules_.byte_fallback = true;
    } else if (type == "Fuse") {
      fused_ = true;
    } else if (type == "Metaspace") {
      LONGSPAN_ASSIGN_OR_RETURN(const std::string replacement, ParseMetaspaceReplacement(node, origin_));
      rules_.replacements.emplace_back(replacement, " ");
      LONGSPAN_ASSIGN_OR_RETURN(const PrependScheme scheme, ParsePrependScheme(node, origin_));
      rules_.strips_leading_space = scheme != PrependScheme::kNever;
    } else if (type == "Replace") {
      LONGSPAN_RETURN_IF_ERROR(ParseReplace(node));
    } else if (type == "Strip") {
      LONGSPAN_RETURN_IF_ERROR(ParseStrip(&reader));
    } else {
      return UnsupportedStep(origin_, "decoder", type);
    }
    return reader.status();
  }

  DecoderRules TakeRules() { return std::move(rules_); }

 private:
  absl::Status ParseReplace(const Json& node) {
    JsonFieldReader pattern(MemberOrNull(node, "pattern"), origin_, "decoder.pattern.");
    JsonFieldReader replace(node, origin_, "decoder.");
    const std::string from = pattern.Text("String", "");
    if (from.empty() || fused_) {
      return UnsupportedStep(origin_, "decoder", fused_ ? "Replace after Fuse" : "Replace of a Regex");
    }
    const std::string to = replace.Text("content", "");
    LONGSPAN_RETURN_IF_ERROR(pattern.status());
    LONGSPAN_RETURN_IF_ERROR(replace.status());
    // Several that lengthen a text could do so without bounds.
    if (to.size() > from.size()) return UnsupportedStep(origin_, "decoder", "Replace by a longer text");
    rules_.replacements.emplace_back(from, to);
    return absl::OkStatus();
  }

  absl::Status ParseStrip(JsonFieldReader* reader) {
    constexpr int64_t kMost = 1 << 20;
    const int64_t start = reader->Integer("start", 0, kMost, 0);
    const int64_t stop = reader->Integer("stop", 0, kMost, 0);
    if (start == 0 && stop == 0) return reader->status();
    if (start != 1 || stop != 0 || !fused_ || reader->Text("content", "") != " ") {
      return UnsupportedStep(origin_, "decoder", "Strip of anything but one leading space of the whole text");
    }
    rules_.strips_leading_space = true;
    return reader->status();
  }

  const std::string& origin_;
  DecoderRules rules_;
  bool fused_ = false;
};

// TemplateProcessing: {"single": [{"SpecialToken": {"id": name}}, {"Sequence": {"id": "A"}}, ...],
// "special_tokens": {name: {"ids": [...]}}}.
absl::StatusOr<SurroundingIds> ParseTemplate(const Json& node, const std::string& origin) {
  constexpr int64_t kMostId = INT32_MAX;
  constexpr size_t kMostTokens = 1024;  // at either end
  SurroundingIds surrounding;
  bool after_text = false;
  for (const Json& piece : MemberOrNull(node, "single")) {
    if (!MemberOrNull(piece, "Sequence").is_null()) {
      if (after_text) return UnsupportedStep(origin, "post-processor", "template with the text twice");
      after_text = true;
      continue;
    }
    JsonFieldReader token(MemberOrNull(piece, "SpecialToken"), origin, "post_processor.SpecialToken.");
    const std::string name = token.Text("id", "");
    LONGSPAN_RETURN_IF_ERROR(token.status());
    JsonFieldReader ids(MemberOrNull(MemberOrNull(node, "special_tokens"), name.c_str()), origin,
                        absl::StrCat("post_processor.special_tokens.", name, "."));
    const std::vector<int64_t> values = ids.Integers("ids", 0, kMostId);
    if (values.empty()) ids.Invalid("ids", "is missing");
    LONGSPAN_RETURN_IF_ERROR(ids.status());
    std::vector<int32_t>& side = after_text ? surrounding.suffix : surrounding.prefix;
    side.insert(side.end(), values.begin(), values.end());
    if (side.size() > kMostTokens)
      return UnsupportedStep(origin, "post-processor", "template of many tokens");
  }
  if (!after_text) return UnsupportedStep(origin, "post-processor", "template without the text");
  return surrounding;
}

}  // namespace

std::string DecoderRules::Shown(std::string_view text) const {
  if (byte_alphabet) return DecodeByteAlphabet(text).value_or(std::string(text));
  if (byte_fallback) {
    if (const std::optional<uint8_t> byte = ParseByteToken(text))
      return std::string(1, static_cast<char>(*byte));
  }
  std::string shown(text);
  for (const auto& [from, to] : replacements) {
    for (size_t at = 0; (at = shown.find(from, at)) != shown.npos; at += to.size()) {
      shown.replace(at, from.size(), to);
    }
  }
  return shown;
}

absl::StatusOr<DecoderRules> ParseDecoder(const Json& node, const std::string& origin) {
  DecoderParser parser(origin);
  LONGSPAN_RETURN_IF_ERROR(parser.Parse(node));
  return parser.TakeRules();
}

absl::StatusOr<SurroundingIds> ParsePostProcessor(const Json& node, const std::string& origin) {
  if (node.is_null()) return SurroundingIds();
  const std::string type = JsonFieldReader(node, origin, "post_processor.").Text("type", "");
  if (type == "ByteLevel") return SurroundingIds();  // it only moves offsets
  if (type == "TemplateProcessing") return ParseTemplate(node, origin);
  if (type != "Sequence") return UnsupportedStep(origin, "post-processor", type);
  SurroundingIds all;
  for (const Json& step : MemberOrNull(node, "processors")) {
    // Each step goes around what the ones before it made.
    LONGSPAN_ASSIGN_OR_RETURN(const SurroundingIds outer, ParsePostProcessor(step, origin));
    all.prefix.insert(all.prefix.begin(), outer.prefix.begin(), outer.prefix.end());
    all.suffix.insert(all.suffix.end(), outer.suffix.begin(), outer.suffix.end());
  }
  return all;
}

}  // namespace longspan
