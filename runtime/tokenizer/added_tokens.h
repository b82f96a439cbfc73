// Tokens that are recognised in the text itself, before anything else looks at it.
//
// Threads: const methods may be called from any thread once all tokens are added.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/tokenizer/literal_matcher.h"

namespace longspan {

struct AddedToken {
  std::string content;
  int32_t id = 0;
  bool special = false;
  bool single_word = false;  // not inside a longer word
  bool strip_left = false;   // takes the white space before it
  bool strip_right = false;  // and after it
};

class AddedTokens {
 public:
  // A stretch of text: a token (id >= 0), or what lies between tokens.
  struct Stretch {
    std::string_view text;
    int32_t id = -1;
  };

  // A token without content is never found.
  void Add(AddedToken token);
  bool empty() const { return tokens_.empty(); }

  // Appends the stretches of `text`, none of them empty, left to right. Where several tokens begin at one
  // place the longest counts. A special token is ordinary text unless `parse_special`.
  void Split(std::string_view text, bool parse_special, std::vector<Stretch>* stretches) const;

 private:
  std::vector<AddedToken> tokens_;
  LiteralMatcher matcher_;  // to indices of tokens_
};

}  // namespace longspan
