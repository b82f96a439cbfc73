// One HTTP exchange, waited for.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "launcher/load/http_client.h"

namespace longspan::load {

struct HttpAnswer {
  HttpHead head;
  std::string body;
};

// Not on the client's thread. The error is as in HttpListener::OnEnd.
absl::StatusOr<HttpAnswer> Fetch(HttpClient& client, HttpRequest request);

}  // namespace longspan::load
