#include "runtime/tokenizer/text_tokenizer.h"

#include <limits>

#include "absl/strings/str_cat.h"
#include "kernels/status_macros.h"
#include "runtime/tokenizer/utf8.h"

namespace longspan {

absl::StatusOr<std::vector<int32_t>> TextTokenizer::Encode(std::string_view text,
                                                           const EncodeOptions& options) const {
  if (text.size() > std::numeric_limits<int32_t>::max()) {
    return absl::InvalidArgumentError(
        absl::StrCat("the text has ", text.size(), " bytes; at most 2 GiB can be tokenized at once"));
  }
  if (const std::optional<size_t> invalid = FindInvalidUtf8(text)) {
    return absl::InvalidArgumentError(
        absl::StrCat("the text is not UTF-8 at byte ", *invalid, "; convert it to UTF-8"));
  }
  std::vector<int32_t> ids;
  if (options.add_special) ids = parts_.prefix;
  std::vector<AddedTokens::Stretch> stretches;
  parts_.added.Split(text, options.parse_special, &stretches);
  for (const AddedTokens::Stretch& stretch : stretches) {
    if (stretch.id >= 0) {
      ids.push_back(stretch.id);
    } else {
      const bool at_text_start = stretch.text.data() == text.data();
      LONGSPAN_RETURN_IF_ERROR(EncodeStretch(stretch.text, at_text_start, options.parse_special, &ids));
    }
  }
  if (options.add_special) ids.insert(ids.end(), parts_.suffix.begin(), parts_.suffix.end());
  return ids;
}

absl::Status TextTokenizer::EncodeStretch(std::string_view text, bool at_text_start, bool parse_special,
                                          std::vector<int32_t>* ids) const {
  std::string normalized;
  if (!parts_.normalizer.empty()) {
    normalized = text;
    LONGSPAN_RETURN_IF_ERROR(parts_.normalizer.Apply(&normalized));
    text = normalized;
  }
  std::vector<AddedTokens::Stretch> stretches;
  parts_.added_normalized.Split(text, parse_special, &stretches);
  for (const AddedTokens::Stretch& stretch : stretches) {
    if (stretch.id >= 0) {
      ids->push_back(stretch.id);
      continue;
    }
    Pieces pieces;
    pieces.views = {stretch.text};
    pieces.at_text_start = at_text_start && stretch.text.data() == text.data();
    LONGSPAN_RETURN_IF_ERROR(parts_.pre_tokenizer.Apply(&pieces));
    parts_.model->Encode(pieces.views, ids);
  }
  return absl::OkStatus();
}

std::string TextTokenizer::Decode(std::span<const int32_t> ids) const {
  std::string bytes;
  for (const int32_t id : ids) bytes += parts_.tokens.Bytes(id);
  std::string_view rest = bytes;
  if (parts_.strips_leading_space && rest.starts_with(' ')) rest.remove_prefix(1);
  std::string text;
  AppendAsUtf8(rest, /*at_end=*/true, &text);
  return text;
}

}  // namespace longspan
