// What a caller asks of the engine, and what it hears back.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "comm/clock.h"
#include "runtime/engine/kv_order.h"

namespace longspan {

struct SamplingParams {
  double temperature = 0;  // 0 = greedy
  int64_t top_k = 0;       // 0 = all
  double top_p = 1;
  double min_p = 0;
  double repetition_penalty = 1;                      // over prompt and output (arXiv 1909.05858)
  double presence_penalty = 0;                        // over output
  double frequency_penalty = 0;                       // over output
  std::vector<std::pair<int32_t, float>> logit_bias;  // token id, added to its logit
  std::optional<uint64_t> seed;  // a request without one is given one when it is admitted
};

inline constexpr int kLowestPriority = -100, kHighestPriority = 100;

// Restricts which tokens may come next: what makes an answer follow a grammar (runtime/grammar/). Keeps the
// state of one request, and is called by one thread at a time, not always the same.
class TokenConstraint {
 public:
  virtual ~TokenConstraint() = default;

  // Sets bit id % 64 of allowed[id / 64] for each token that may come next when `tokens_left` (at least 1)
  // can still be generated, this one included, and clears all others. One token is allowed at least, an
  // end-of-sequence token where the text may end. When the shortest valid ending needs all that is left, only
  // tokens of a shortest ending are allowed. allowed: [(vocab_size + 63) / 64].
  virtual void Allowed(int64_t tokens_left, std::span<uint64_t> allowed) = 0;
  // The token that was chosen among the allowed ones.
  virtual void Accept(int32_t token) = 0;
};

// Immutable once submitted.
struct Request {
  std::vector<int32_t> prompt;  // at least one token
  // Of the output, fewer than max_tokens: what another group has come to. It goes on after them, as if it had
  // generated them itself, and they are not delivered again.
  std::vector<int32_t> generated = {};
  std::optional<int64_t> max_tokens;  // output; absent = the engine's default, capped by the context left
  SamplingParams sampling;
  bool ignore_eos = false;
  bool prompt_logits =
      false;  // deliver the logits of every prompt position (teacher-forced); max_tokens may be 0
  int64_t first_logits = 0;  // with prompt_logits: the first position whose logits are wanted
  // Where a ResponseListener hears of it: log-probabilities of each token, those of the prompt too with
  // prompt_logits, and of so many of the likeliest.
  std::optional<int> logprobs = {};
  int priority = 0;                          // a larger one runs first, and may preempt smaller ones
  std::optional<Clock::Time> deadline = {};  // on the engine's clock; past it the request ends
  std::unique_ptr<TokenConstraint> constraint =
      {};  // null: any token; at its end it prevails over ignore_eos
  // What a group makes the constraint of, where the request comes from afar: text of
  // AnswerGrammars::TextOf; empty: any token.
  std::string grammar = {};
  int64_t label = 0;  // how snapshots name it; 0: by its id
  // s in "block i lies on kvp rank (i + s) mod kvp"; absent: chosen by headroom when it starts.
  std::optional<int> shift = {};
  // KV of prompt and `generated` comes from a group that computes it, and Engine::Continue tells the token
  // after them; or it goes to a group that goes on with it: this one ends after one token. With a shift.
  std::optional<KvPeer> receives_from = {}, sends_to = {};
};

// All but the constraint, which belongs to one request.
Request Copy(const Request& request);

enum class FinishReason : uint8_t { kStop, kLength, kCancelled, kDeadline, kError };
std::string_view Name(FinishReason reason);  // "stop", "length", "cancelled", "deadline", "error"

using RequestId = int64_t;

// Hears of one request, on the engine's thread. Lives until after OnFinish.
class RequestListener {
 public:
  virtual ~RequestListener() = default;

  // The request has left the queue: its KV is reserved. Once, however often it is preempted.
  virtual void OnStart() {}
  // Logits before sampling, [vocab], of the token that follows `position`; valid during the call only. Called
  // for each generated token, and for each prompt position with prompt_logits, in order.
  virtual void OnLogits(int64_t position, std::span<const float> logits) {}
  // A generated token, an end-of-sequence token included. Returns false to stop with reason kStop.
  virtual bool OnToken(int32_t token) { return true; }
  // With receives_from: the group it comes from may send; later, that the KV has arrived whole, or is
  // computed here because it has not.
  virtual void OnReadyForKv() {}
  virtual void OnKvArrived(const KvArrival& arrival) {}
  virtual void OnFinish(FinishReason reason) {}
};

}  // namespace longspan
