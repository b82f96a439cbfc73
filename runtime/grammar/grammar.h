// Which texts an answer may be: JSON that follows a schema, literal text, and what is put together of these.
//
//   auto call = Grammar::Concatenation({Grammar::SpecialToken("<tool_call>"), Grammar::Literal("\n{\"name\":
//   \"f\", "
//       "\"arguments\": "), *Grammar::FromJsonSchema(schema), Grammar::Literal("}\n</tool_call>")});
//   request.constraint = NewConstraint(*call, vocabulary);
//
// README.md lists the keywords of JSON Schema that are supported. JSON is written without white space, but
// for one optional space after each ':' and ','. Threads: immutable to those who use it; may be used from any
// thread.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <nlohmann/json_fwd.hpp>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/engine/request.h"
#include "runtime/grammar/automaton.h"
#include "runtime/grammar/token_vocabulary.h"

namespace longspan {

class TokenMasks;

class Grammar {
 public:
  using Shared = std::shared_ptr<const Grammar>;

  // InvalidArgument names what is not a schema, what is not supported, or what no text can satisfy, and
  // where: `schema.properties.x: "not" is not supported`.
  static absl::StatusOr<Shared> FromJsonSchema(const nlohmann::ordered_json& schema);
  // Any JSON object.
  static Shared JsonObject();
  // The text, which is not empty.
  static Shared Literal(std::string_view text);
  // The special token with this spelling where the vocabulary has one, or the bytes of the spelling.
  static Shared SpecialToken(std::string_view spelling);
  // InvalidArgument: too large all together. At least one part.
  static absl::StatusOr<Shared> Concatenation(const std::vector<Shared>& parts);
  static absl::StatusOr<Shared> AnyOf(const std::vector<Shared>& parts);

  explicit Grammar(Automaton automaton);
  ~Grammar();

  // The tokens that a constraint can be sure to end in, the end-of-sequence token included; at most a few
  // more than the shortest text has. A request needs as many. Larger than any context when the vocabulary
  // cannot spell any text of the grammar.
  int64_t LeastTokens(const std::shared_ptr<const TokenVocabulary>& vocabulary) const;

 private:
  friend std::unique_ptr<TokenConstraint> NewConstraint(
      Shared grammar, const std::shared_ptr<const TokenVocabulary>& vocabulary);

  // Those of the vocabulary that was used last are kept.
  std::shared_ptr<const TokenMasks> MasksFor(const std::shared_ptr<const TokenVocabulary>& vocabulary) const;

  const Automaton automaton_;
  mutable std::mutex mutex_;
  mutable std::shared_ptr<const TokenMasks> masks_;  // guarded
};

// For one request of at least LeastTokens output tokens. What is worked out for one constraint serves all
// others of the same grammar and vocabulary.
std::unique_ptr<TokenConstraint> NewConstraint(std::shared_ptr<const Grammar> grammar,
                                               const std::shared_ptr<const TokenVocabulary>& vocabulary);

}  // namespace longspan
