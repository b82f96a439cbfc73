// Bodies of requests for completions.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "launcher/load/prompts.h"

namespace longspan::load {

enum class Endpoint { kCompletions, kChat };

class RequestFormat {
 public:
  // `model` may be empty. `extra`, a JSON object or empty, is merged into every body: its fields win, null
  // takes a field away. InvalidArgument when it is no object.
  //
  // A body asks for a stream with usage, greedy sampling, and an answer of just so many tokens: max_tokens,
  // and ignore_eos, a widespread extension that others ignore.
  static absl::StatusOr<RequestFormat> Create(Endpoint endpoint, const std::string& model,
                                              const std::string& extra, Prompts prompts);

  Endpoint endpoint() const { return endpoint_; }
  const Prompts& prompts() const { return prompts_; }
  // "/v1/completions" or "/v1/chat/completions".
  std::string Path() const;
  std::string Body(const PlannedRequest& request, int64_t index) const;
  // A request that is answered at once, with `prompt` as JSON, for one token.
  std::string ProbeBody(const std::string& prompt) const;

 private:
  explicit RequestFormat(Prompts prompts) : prompts_(std::move(prompts)) {}

  Endpoint endpoint_ = Endpoint::kCompletions;
  Prompts prompts_;
  std::string fields_, probe_fields_;  // `"name":value,...`, all but lengths and prompt
};

}  // namespace longspan::load
