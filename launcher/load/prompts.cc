#include "launcher/load/prompts.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "launcher/load/random.h"

namespace longspan::load {

const std::vector<std::string>& CommonWords() {
  static const auto* words =
      new std::vector<std::string>(absl::StrSplit("the of and to in is that for it as was with be by on not "
                                                  "he his but at are this have from or had an they "
                                                  "which one you were all her she there would their we him "
                                                  "been has when who will no more if out so up said "
                                                  "what its about than into them can only other time new "
                                                  "some could these two may first then do any like my "
                                                  "now over such our man me even most made after also did "
                                                  "many off before must well back through years much "
                                                  "where your way down should because long each just those "
                                                  "people too how little state good very make world "
                                                  "still see own work men day get here old life both between "
                                                  "being under three never know same last another "
                                                  "while us year since against go came right used take",
                                                  ' '));
  return *words;
}

std::string SomeWords(int64_t count, uint64_t seed) {
  const std::vector<std::string>& words = CommonWords();
  std::string text;
  for (int64_t i = 0; i < count; ++i) {
    absl::StrAppend(&text, i == 0 ? "" : " ",
                    words[Mix(Mix(seed) + static_cast<uint64_t>(i)) % words.size()]);
  }
  return text;
}

Prompts Prompts::OfIds(std::vector<int32_t> pool, uint64_t seed) {
  Prompts prompts;
  prompts.pool_ = std::move(pool);
  prompts.seed_ = seed;
  return prompts;
}

Prompts Prompts::OfText(WordTokens words, uint64_t seed) {
  Prompts prompts;
  prompts.words_ = words;
  prompts.seed_ = seed;
  return prompts;
}

uint64_t Prompts::Draw(const PlannedRequest& request, int64_t index, int64_t position) const {
  const int64_t block = position / request.block_tokens;
  const bool shared = block < std::ssize(request.block_ids);
  // Blocks with ids and requests without are numbered apart.
  const uint64_t source = shared ? 2 * static_cast<uint64_t>(request.block_ids[static_cast<size_t>(block)])
                                 : 2 * static_cast<uint64_t>(index) + 1;
  const int64_t offset = shared ? position % request.block_tokens : position;
  return Mix(Mix(Mix(seed_) + source) + static_cast<uint64_t>(offset));
}

std::string Prompts::Json(const PlannedRequest& request, int64_t index) const {
  std::string json;
  if (of_ids()) {
    json = "[";
    for (int64_t i = 0; i < request.input_tokens; ++i) {
      absl::StrAppend(&json, i == 0 ? "" : ",", pool_[Draw(request, index, i) % pool_.size()]);
    }
    return json + "]";
  }
  const std::vector<std::string>& words = CommonWords();
  const double count = (static_cast<double>(request.input_tokens) - words_.fixed) / words_.per_word;
  json = "\"";
  for (int64_t i = 0; i < std::max<int64_t>(1, std::llround(count)); ++i) {
    absl::StrAppend(&json, i == 0 ? "" : " ", words[Draw(request, index, i) % words.size()]);
  }
  return json + "\"";
}

}  // namespace longspan::load
