// Finds out, before a run, how to talk to a server.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "launcher/load/http_client.h"
#include "launcher/load/request_format.h"

namespace longspan::load {

enum class PromptKind {
  kAuto,  // ids where the server takes them
  kIds,
  kText,
};

struct ProbeOptions {
  Url url;  // to name in errors
  Endpoint endpoint = Endpoint::kCompletions;
  std::string model;  // empty: the first that the server lists
  std::string extra_body;
  PromptKind prompts = PromptKind::kAuto;
  uint64_t seed = 0;
};

struct ServerInfo {
  std::string model;    // empty when the server lists none
  std::string warning;  // something that a user should know, or empty
  RequestFormat format;
};

// Asks for the models, then lets the server answer one or two small requests: with token ids, which its
// /tokenize gives, or with words, to learn how many tokens they are. While the server answers 429 or 503 it
// is asked again, for a minute. Errors name the URL and say what the server said.
absl::StatusOr<ServerInfo> ProbeServer(HttpClient& client, const ProbeOptions& options);

}  // namespace longspan::load
