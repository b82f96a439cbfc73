// Vocabularies for tests of grammars.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "runtime/grammar/token_vocabulary.h"

namespace longspan {

// Token id is byte id; 256 ends a text.
inline std::shared_ptr<const TokenVocabulary> ByteVocabulary() {
  std::vector<std::string> tokens(257);
  for (size_t byte = 0; byte < 256; ++byte) tokens[byte] = static_cast<char>(byte);
  return std::make_shared<const TokenVocabulary>(tokens, absl::flat_hash_map<std::string, int32_t>(),
                                                 std::vector<int32_t>{256});
}

// All bytes, tokens that cross the structure of JSON in many ways, and parts of characters. 256 and 257 end a
// text; 258 is the special token <tool_call>; "a" is there twice.
inline std::shared_ptr<const TokenVocabulary> MixedVocabulary() {
  std::vector<std::string> tokens(259);
  for (size_t byte = 0; byte < 256; ++byte) tokens[byte] = static_cast<char>(byte);
  for (const char* token : {"{\"",
                            "\"}",
                            "\":",
                            "\": ",
                            "\":\"",
                            "\": \"",
                            "\",\"",
                            "\", \"",
                            "},{",
                            "}, {",
                            "\"}]",
                            "]}",
                            "}}",
                            "[[",
                            "]]",
                            "[{\"",
                            "{}",
                            "[]",
                            "\"\"",
                            "\"\":",
                            ",\"",
                            ", ",
                            ": ",
                            ":1",
                            ":{\"",
                            ",[",
                            "],[",
                            "1,",
                            "12",
                            "345",
                            "00",
                            "0.5",
                            ".5",
                            "-1",
                            "e5",
                            "E+",
                            "1e",
                            "10}",
                            "1]",
                            "true",
                            "false",
                            "null",
                            "tru",
                            "nul",
                            "true,",
                            "null}",
                            "a",
                            "ab",
                            "abc",
                            "abcd",
                            " ",
                            "  ",
                            "    ",
                            " the",
                            "the\"",
                            "name",
                            "value\":",
                            "item",
                            "x\",",
                            "x\"}",
                            "\\n",
                            "\\\"",
                            "\\u00",
                            "\\ud83d",
                            "\\ude00",
                            "00e9",
                            "\\",
                            "u0",
                            "\n",
                            "\n\n",
                            "\xC3",
                            "\xA9",
                            "\xC3\xA9",
                            "\xA9\"",
                            "\xA9\",\"",
                            "\xF0\x9F\x98",
                            "\x80",
                            "\xF0\x9F\x98\x80",
                            "\xE4\xB8\xAD",
                            "\xE4\xB8",
                            "\xAD\xE4",
                            "caf\xC3\xA9",
                            "caf\xC3",
                            "\"caf\xC3",
                            "\xED\xA0\x80",
                            "\xE2\x80\xA8",
                            "a\xE2\x80\xA8 ",
                            "2024-",
                            "-01",
                            "T1",
                            ":30",
                            "@",
                            ".com",
                            "b\":",
                            "\"b\"",
                            "\"a\":",
                            "a\":1",
                            "kind",
                            "\"kind\":\"",
                            "\"kind\": \"",
                            "one\"",
                            "two\"}"}) {
    tokens.emplace_back(token);
  }
  return std::make_shared<const TokenVocabulary>(
      tokens, absl::flat_hash_map<std::string, int32_t>{{"<tool_call>", 258}},
      std::vector<int32_t>{256, 257});
}

inline bool IsAllowed(const std::vector<uint64_t>& allowed, int32_t token) {
  return (allowed[static_cast<size_t>(token) / 64] >> (token % 64) & 1) != 0;
}

}  // namespace longspan
