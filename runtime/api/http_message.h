// What an HTTP handler is given, and what it answers.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace longspan {

struct HttpRequest {
  std::string method;         // "GET"
  std::string path;           // "/v1/models", without the query
  std::string authorization;  // the header's value; empty without one
  std::string body;
  std::string id;    // of the x-request-id header, or one of our own: letters, digits and "._:-"
  std::string peer;  // "127.0.0.1:40312"
};

using HttpHeaders = std::vector<std::pair<std::string, std::string>>;

struct HttpResponse {
  int status = 200;
  std::string content_type = "application/json";
  std::string body = {};
  HttpHeaders headers = {};  // further ones
};

// An answer that takes time. All methods are called on the server's thread.
class HttpExchange {
 public:
  // Either the whole answer, or the next bytes of a stream of server-sent events (status 200).
  struct Progress {
    std::unique_ptr<HttpResponse> whole;
    std::string bytes;  // may be empty: nothing new
    bool ends = false;  // after these bytes
    // When there is more to send, though nobody calls Wake.
    std::chrono::steady_clock::time_point more_at = std::chrono::steady_clock::time_point::max();
  };

  virtual ~HttpExchange() = default;

  // What can be sent now; called again when the client has taken it and Wake was called since, or more_at has
  // come. A client that reads slowly makes these calls rare, so what comes in between has to be kept in
  // little memory.
  virtual Progress Next() = 0;
  // The client is gone. Nothing is called afterwards.
  virtual void OnDisconnect() = 0;
};

// Tells the server that Next has something new. Callable from any thread, any number of times, also after the
// end.
using HttpWake = std::function<void()>;

// One of them.
struct HttpAnswer {
  HttpResponse response;
  std::shared_ptr<HttpExchange> exchange;  // when set
};

// Called on the server's thread, and for long bodies on another one: several may run at once.
using HttpHandler = std::function<HttpAnswer(HttpRequest request, HttpWake wake)>;

}  // namespace longspan
