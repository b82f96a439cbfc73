// Prompts of given lengths, as the body of a request has them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "launcher/load/trace.h"

namespace longspan::load {

// The commonest English words: with a space before it, each is one token of nearly every vocabulary.
const std::vector<std::string>& CommonWords();

// `count` of them in an order that depends on the seed, with spaces between.
std::string SomeWords(int64_t count, uint64_t seed);

// What a server makes of words: tokens = fixed + per_word * words, the template's among the fixed ones.
struct WordTokens {
  double per_word = 1;
  double fixed = 0;
};

// Prompts made of random tokens or words. They are equal where block ids are equal, and otherwise differ from
// their first token on, so that no cache of prefixes helps.
class Prompts {
 public:
  // Prompts are arrays of ids taken from `pool`, which must not be empty.
  static Prompts OfIds(std::vector<int32_t> pool, uint64_t seed);
  // Prompts are texts.
  static Prompts OfText(WordTokens words, uint64_t seed);

  bool of_ids() const { return !pool_.empty(); }
  // Numbers the pieces of `request`, the index-th of the run, as JSON: an array or a string.
  std::string Json(const PlannedRequest& request, int64_t index) const;

 private:
  uint64_t Draw(const PlannedRequest& request, int64_t index, int64_t position) const;

  std::vector<int32_t> pool_;
  WordTokens words_;
  uint64_t seed_ = 0;
};

}  // namespace longspan::load
