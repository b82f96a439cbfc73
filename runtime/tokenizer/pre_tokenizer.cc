#include "runtime/tokenizer/pre_tokenizer.h"

#include <algorithm>
#include <utility>

#include "kernels/status_macros.h"
#include "runtime/tokenizer/regex.h"

namespace longspan {
namespace {

struct Part {
  std::string_view text;
  bool matches;
};

// Joins every part with the one before it, where `joins(before, part)` says so.
template <typename Joins>
void JoinParts(std::vector<Part>* parts, const Joins& joins) {
  std::vector<Part> joined;
  for (const Part& part : *parts) {
    if (!joined.empty() && joins(joined.back(), part)) {
      std::string_view& text = joined.back().text;
      text = std::string_view(text.data(), text.size() + part.text.size());
      joined.back().matches = part.matches;
    } else {
      joined.push_back(part);
    }
  }
  *parts = std::move(joined);
}

class Split : public PreTokenizerStep {
 public:
  Split(std::unique_ptr<Regex> pattern, SplitBehavior behavior, bool invert)
      : pattern_(std::move(pattern)), behavior_(behavior), invert_(invert) {}

  absl::Status Apply(Pieces* pieces) const override {
    std::vector<std::string_view> views;
    std::vector<TextRange> matches;
    std::vector<Part> parts;
    for (const std::string_view piece : pieces->views) {
      matches.clear();
      LONGSPAN_RETURN_IF_ERROR(pattern_->FindAll(piece, &matches));
      parts.clear();
      CutAtMatches(piece, matches, &parts);
      Behave(&parts);
      for (const Part& part : parts) views.push_back(part.text);
    }
    pieces->views = std::move(views);
    return absl::OkStatus();
  }

 private:
  void CutAtMatches(std::string_view piece, const std::vector<TextRange>& matches,
                    std::vector<Part>* parts) const {
    const auto add = [&](size_t begin, size_t end, bool matches_pattern) {
      if (begin < end) parts->push_back({piece.substr(begin, end - begin), matches_pattern != invert_});
    };
    size_t at = 0;
    for (const TextRange& match : matches) {
      add(at, match.begin, false);
      add(match.begin, match.end, true);
      at = match.end;
    }
    add(at, piece.size(), false);
  }

  void Behave(std::vector<Part>* parts) const {
    switch (behavior_) {
      case SplitBehavior::kIsolated:
        break;
      case SplitBehavior::kRemoved:
        std::erase_if(*parts, [](const Part& part) { return part.matches; });
        break;
      case SplitBehavior::kMergedWithPrevious:
        JoinParts(parts,
                  [](const Part& before, const Part& part) { return part.matches && !before.matches; });
        break;
      case SplitBehavior::kMergedWithNext:
        JoinParts(parts,
                  [](const Part& before, const Part& part) { return before.matches && !part.matches; });
        break;
      case SplitBehavior::kContiguous:
        JoinParts(parts, [](const Part& before, const Part& part) { return before.matches == part.matches; });
        break;
    }
  }

  std::unique_ptr<Regex> pattern_;
  SplitBehavior behavior_;
  bool invert_;
};

class PrefixSpace : public PreTokenizerStep {
 public:
  absl::Status Apply(Pieces* pieces) const override {
    for (std::string_view& piece : pieces->views) {
      if (piece.starts_with(' ')) continue;
      piece = pieces->made.emplace_back(" ").append(piece);
    }
    return absl::OkStatus();
  }
};

class Metaspace : public PreTokenizerStep {
 public:
  explicit Metaspace(MetaspaceOptions options) : options_(std::move(options)) {}

  absl::Status Apply(Pieces* pieces) const override {
    bool first = pieces->at_text_start;
    for (std::string_view& piece : pieces->views) {
      const bool prepend =
          options_.scheme == PrependScheme::kAlways || (options_.scheme == PrependScheme::kFirst && first);
      piece = pieces->made.emplace_back(Rewrite(piece, prepend));
      first = false;
    }
    if (options_.split == nullptr) return absl::OkStatus();
    return options_.split->Apply(pieces);
  }

 private:
  std::string Rewrite(std::string_view piece, bool prepend) const {
    std::string text;
    if (prepend && !piece.starts_with(' ') && !piece.starts_with(options_.replacement)) {
      text = options_.replacement;
    }
    for (const char byte : piece) {
      if (byte == ' ') {
        text += options_.replacement;
      } else {
        text += byte;
      }
    }
    return text;
  }

  MetaspaceOptions options_;
};

}  // namespace

absl::Status PreTokenizer::Apply(Pieces* pieces) const {
  for (const auto& step : steps_) LONGSPAN_RETURN_IF_ERROR(step->Apply(pieces));
  return absl::OkStatus();
}

std::unique_ptr<PreTokenizerStep> MakeSplit(std::unique_ptr<Regex> pattern, SplitBehavior behavior,
                                            bool invert) {
  return std::make_unique<Split>(std::move(pattern), behavior, invert);
}

std::unique_ptr<PreTokenizerStep> MakePrefixSpace() { return std::make_unique<PrefixSpace>(); }

std::unique_ptr<PreTokenizerStep> MakeMetaspace(MetaspaceOptions options) {
  return std::make_unique<Metaspace>(std::move(options));
}

}  // namespace longspan
