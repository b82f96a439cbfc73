// A schema that anybody may have sent: it is refused, or holds a model that likes anything to texts that
// parse.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "kernels/check.h"
#include "runtime/grammar/grammar.h"
#include "tests/grammar/test_vocabularies.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using Json = nlohmann::ordered_json;
  const Json schema = Json::parse(data, data + size, nullptr, /*allow_exceptions=*/false);
  if (schema.is_discarded()) return 0;
  const auto grammar = longspan::Grammar::FromJsonSchema(schema);
  if (!grammar.ok()) return 0;
  static const auto vocabulary = longspan::MixedVocabulary();
  const int64_t least = (*grammar)->LeastTokens(vocabulary);
  if (least > 200) return 0;
  std::vector<uint64_t> allowed(vocabulary->mask_words());
  const auto constraint = longspan::NewConstraint(*grammar, vocabulary);
  uint64_t random = size;
  std::string text;
  for (int64_t left = least + 20;; --left) {
    LONGSPAN_CHECK(left > 0);
    constraint->Allowed(left, allowed);
    std::vector<int32_t> tokens;
    for (int32_t token = 0; token < vocabulary->size(); ++token) {
      if (longspan::IsAllowed(allowed, token)) tokens.push_back(token);
    }
    LONGSPAN_CHECK(!tokens.empty());
    random = random * 6364136223846793005u + 1442695040888963407u + (size > 0 ? data[random % size] : 0);
    const int32_t token = tokens[(random >> 33) % tokens.size()];
    constraint->Accept(token);
    if (vocabulary->IsEnd(token)) break;
    text += vocabulary->Bytes(token);
  }
  LONGSPAN_CHECK(Json::accept(text));
  return 0;
}
