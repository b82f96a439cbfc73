// An HTTP/1.1 server on one thread, for few routes and many long streams.
//
// Bounds: a connection holds one request at a time; headers, bodies, all bodies together, the number of
// connections and every wait for a client are limited (HttpServerOptions). A client that reads slowly is
// written to when it can take more and slows nobody else; one that takes nothing for `write_timeout` is
// dropped. A client that goes away is noticed at once.
// What cannot be parsed as one request and nothing else (two lengths, a length and chunks, unknown transfer
// codings) is refused, so that proxies and the server never disagree on where a request ends (RFC 9112,
// 6.3 and 11.2).
// Threads: all methods from any thread, but for the destructor.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "runtime/api/http_message.h"

namespace longspan {

struct HttpServerOptions {
  std::string host = "127.0.0.1";  // name or address
  int port = 8000;                 // 0 = any free one
  std::string address_name;        // what errors call host and port
  std::string tls_certificate;     // PEM files: both or none
  std::string tls_key;
  size_t max_header_bytes = size_t{16} << 10;
  size_t max_body_bytes = size_t{16} << 20;
  size_t max_bodies_bytes = size_t{256} << 20;       // of all requests being received
  size_t max_connections = 4096;                     // more wait in the system's queue
  std::chrono::milliseconds header_timeout{10'000};  // from the first byte, or of TLS's handshake
  std::chrono::milliseconds body_timeout{60'000};
  std::chrono::milliseconds idle_timeout{75'000};   // between requests
  std::chrono::milliseconds write_timeout{30'000};  // without progress
};

class HttpServer {
 public:
  class State;

  // The body of an answer that the server gives by itself: 400, 408, 413, 431, 503.
  using ErrorBody = std::function<std::string(int status, const std::string& message)>;

  // Listens and serves from now on. An error names the address, or the file.
  static absl::StatusOr<std::unique_ptr<HttpServer>> Create(const HttpServerOptions& options,
                                                            HttpHandler handler, ErrorBody error_body);
  // Drops all connections.
  ~HttpServer();

  int port() const;
  size_t connections() const;

  // Accepts no more connections and ends those that wait for a request; the others end with their answer.
  // Waits for them until the timeout; tells whether all have ended.
  bool Finish(std::chrono::milliseconds timeout);

 private:
  explicit HttpServer(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace longspan
