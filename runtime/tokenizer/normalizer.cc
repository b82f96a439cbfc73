#include "runtime/tokenizer/normalizer.h"

#include <unicode/bytestream.h>
#include <unicode/normalizer2.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/status_macros.h"
#include "runtime/tokenizer/regex.h"

namespace longspan {
namespace {

// Keeps a file from turning a short text into one that no memory holds.
absl::Status CheckLength(size_t given, size_t normalized) {
  constexpr size_t kMostGrowth = 16;
  constexpr size_t kMostAdded = 1 << 16;
  if (normalized <= kMostGrowth * given + kMostAdded) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat("the tokenizer's normalizer makes ", normalized, " bytes of the ", given,
                   " that were given; take the tokenizer.json that the model was published with"));
}

class Prepend : public NormalizerStep {
 public:
  explicit Prepend(std::string prefix) : prefix_(std::move(prefix)) {}

  absl::Status Apply(std::string* text) const override {
    if (!text->empty()) text->insert(0, prefix_);
    return absl::OkStatus();
  }

 private:
  std::string prefix_;
};

class Replace : public NormalizerStep {
 public:
  Replace(std::unique_ptr<Regex> pattern, std::string content)
      : pattern_(std::move(pattern)), content_(std::move(content)) {}

  absl::Status Apply(std::string* text) const override {
    std::vector<TextRange> matches;
    LONGSPAN_RETURN_IF_ERROR(pattern_->FindAll(*text, &matches));
    if (matches.empty()) return absl::OkStatus();
    LONGSPAN_RETURN_IF_ERROR(CheckLength(text->size(), matches.size() * content_.size()));
    std::string replaced;
    size_t at = 0;
    for (const TextRange& match : matches) {
      replaced.append(*text, at, match.begin - at).append(content_);
      at = match.end;
    }
    replaced.append(*text, at);
    *text = std::move(replaced);
    return absl::OkStatus();
  }

 private:
  std::unique_ptr<Regex> pattern_;
  std::string content_;
};

class Nfc : public NormalizerStep {
 public:
  absl::Status Apply(std::string* text) const override {
    UErrorCode error = U_ZERO_ERROR;
    const icu::Normalizer2* form = icu::Normalizer2::getNFCInstance(error);
    if (U_SUCCESS(error)) {
      const icu::StringPiece piece(text->data(), static_cast<int32_t>(text->size()));
      if (form->isNormalizedUTF8(piece, error)) return absl::OkStatus();
      std::string normalized;
      icu::StringByteSink<std::string> sink(&normalized);
      form->normalizeUTF8(0, piece, sink, nullptr, error);
      if (U_SUCCESS(error)) *text = std::move(normalized);
    }
    if (U_FAILURE(error)) {
      return absl::InternalError(absl::StrCat("ICU could not normalise the text: ", u_errorName(error),
                                              "; check that its data (libicu) is installed"));
    }
    return absl::OkStatus();
  }
};

}  // namespace

absl::Status Normalizer::Apply(std::string* text) const {
  const size_t given = text->size();
  for (const auto& step : steps_) {
    LONGSPAN_RETURN_IF_ERROR(step->Apply(text));
    LONGSPAN_RETURN_IF_ERROR(CheckLength(given, text->size()));
  }
  return absl::OkStatus();
}

std::unique_ptr<NormalizerStep> MakePrepend(std::string prefix) {
  return std::make_unique<Prepend>(std::move(prefix));
}

std::unique_ptr<NormalizerStep> MakeReplace(std::unique_ptr<Regex> pattern, std::string content) {
  return std::make_unique<Replace>(std::move(pattern), std::move(content));
}

std::unique_ptr<NormalizerStep> MakeNfc() { return std::make_unique<Nfc>(); }

}  // namespace longspan
