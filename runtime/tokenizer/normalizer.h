// Rewriting a text before it is cut into tokens.
//
// Threads: immutable; may be used from any thread.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"

namespace longspan {

class NormalizerStep {
 public:
  virtual ~NormalizerStep() = default;
  // `text` is UTF-8 and stays so.
  virtual absl::Status Apply(std::string* text) const = 0;
};

// The steps of a tokenizer, in order.
class Normalizer {
 public:
  void Add(std::unique_ptr<NormalizerStep> step) { steps_.push_back(std::move(step)); }
  bool empty() const { return steps_.empty(); }
  // Fails when the text becomes many times as long.
  absl::Status Apply(std::string* text) const;

 private:
  std::vector<std::unique_ptr<NormalizerStep>> steps_;
};

// Puts `prefix` before a text that is not empty.
std::unique_ptr<NormalizerStep> MakePrepend(std::string prefix);

class Regex;
// Writes `content` for every match.
std::unique_ptr<NormalizerStep> MakeReplace(std::unique_ptr<Regex> pattern, std::string content);

// Unicode Normalization Form C (UAX #15).
std::unique_ptr<NormalizerStep> MakeNfc();

}  // namespace longspan
