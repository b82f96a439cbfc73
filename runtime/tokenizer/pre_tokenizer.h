// Cutting a normalised text into the pieces that tokens do not cross.
//
// Threads: immutable; may be used from any thread.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"

namespace longspan {

class Regex;

// The pieces of one stretch of text: views into it, or into strings that steps made.
struct Pieces {
  std::vector<std::string_view> views;
  std::deque<std::string> made;
  bool at_text_start = false;  // the stretch begins where the whole text does
};

class PreTokenizerStep {
 public:
  virtual ~PreTokenizerStep() = default;
  virtual absl::Status Apply(Pieces* pieces) const = 0;
};

// The steps of a tokenizer, in order.
class PreTokenizer {
 public:
  void Add(std::unique_ptr<PreTokenizerStep> step) { steps_.push_back(std::move(step)); }
  absl::Status Apply(Pieces* pieces) const;

 private:
  std::vector<std::unique_ptr<PreTokenizerStep>> steps_;
};

// What becomes of the text that matches.
enum class SplitBehavior : uint8_t {
  kRemoved,
  kIsolated,            // each match is a piece
  kMergedWithPrevious,  // a match belongs to the piece before it
  kMergedWithNext,
  kContiguous,  // neighbouring matches are one piece
};

// With `invert`, what lies between matches counts as the match.
std::unique_ptr<PreTokenizerStep> MakeSplit(std::unique_ptr<Regex> pattern, SplitBehavior behavior,
                                            bool invert);

// Puts a space before each piece that does not begin with one.
std::unique_ptr<PreTokenizerStep> MakePrefixSpace();

enum class PrependScheme : uint8_t { kNever, kFirst, kAlways };

// Writes `replacement` (one character) for every space and, as `scheme` says, before pieces that do not begin
// with it; `space` matches one space, and `split`, when given, cuts before each replacement.
struct MetaspaceOptions {
  std::string replacement;
  PrependScheme scheme = PrependScheme::kAlways;
  std::unique_ptr<PreTokenizerStep> split;  // null: no cuts
};
std::unique_ptr<PreTokenizerStep> MakeMetaspace(MetaspaceOptions options);

}  // namespace longspan
