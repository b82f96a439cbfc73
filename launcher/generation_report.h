// What a generation cost, for programs and for people.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/numerics.h"
#include "runtime/engine/group.h"
#include "runtime/generation/generation.h"

namespace longspan {

// One JSON object in one line, with a newline: "text" (null without a tokenizer), "prompt_token_ids",
// "token_ids", "finish_reason", "logits_digest", "logprobs" (only where asked for, in the shape of OpenAI's
// chat API with the "id" of each token beside it; without a tokenizer "token" and "bytes" are null), "usage",
// "timing" (seconds; null for what did not happen) and "group", whose arrays are by rank and whose
// communication is all that the group has sent since it was made.
std::string RenderJson(const Generation& generation, double load_s, const GroupReport& group);
// The request of a file with this number, from 1, was refused: {"error": {"message", "request"}}, with a
// newline.
std::string RenderRefusal(const std::string& message, int64_t number);

// What --account tells.
struct Account {
  GroupReport group;  // at the end
  Numerics numerics;
  std::vector<uint64_t> kv_bytes_used;  // [kvp], the most at any moment
  int64_t prompt_tokens = 0;
  int64_t generated_tokens = 0;
  // Sent by all ranks together for `comm_tokens` tokens, each generated in a step of its own.
  uint64_t comm_bytes = 0, comm_operations = 0;
  int64_t comm_tokens = 0;
  double first_token_s = 0;
  double decode_s = 0;         // from the first token to the last
  int64_t decoded_tokens = 0;  // in that time
};

// Several lines that explain themselves.
std::string RenderAccount(const Account& account);

// "126.4 MB", in powers of 1024.
std::string HumanSize(double bytes);

}  // namespace longspan
