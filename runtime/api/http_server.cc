#include "runtime/api/http_server.h"

#include <sched.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <algorithm>

#include <atomic>
#include <cstdint>
#include <future>
#include <optional>
#include <random>
#include <sstream>
#include <string_view>
#include <thread>
#include <type_traits>
#include <utility>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/ssl.hpp>
#include <boost/beast/version.hpp>

#include <spdlog/spdlog.h>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "kernels/status_macros.h"

namespace longspan {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;
namespace ssl = asio::ssl;
using tcp = asio::ip::tcp;
using SteadyTime = std::chrono::steady_clock::time_point;
using boost::system::error_code;

constexpr SteadyTime kNever = SteadyTime::max();
constexpr std::chrono::milliseconds kSweepEvery{250};
constexpr std::chrono::seconds kLinger{2};        // for the client to read the last answer
constexpr size_t kLingerBytes = size_t{4} << 20;  // of what it still sends meanwhile
constexpr rlim_t kOtherFiles = 256;               // beside connections
constexpr size_t kReadBytes = 4096;               // of a request's beginning at a time
constexpr size_t kLongBody = size_t{64} << 10;    // whose handler would keep others waiting
constexpr size_t kHugeBody = size_t{1} << 20;     // whose handler would take time from the model
constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";

SteadyTime Now() { return std::chrono::steady_clock::now(); }

bool IsSoundId(std::string_view id) {
  const auto sound = [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           std::string_view("._:-").find(c) != std::string_view::npos;
  };
  return !id.empty() && id.size() <= 128 && std::all_of(id.begin(), id.end(), sound);
}

std::string NewId() {
  thread_local std::mt19937_64 random{(uint64_t{std::random_device()()} << 32) | std::random_device()()};
  return absl::StrFormat("req-%016x", random());
}

std::string RenderHead(int status, std::string_view content_type, const std::string& id, bool keep_alive,
                       const HttpHeaders& headers, std::optional<size_t> length) {
  http::response<http::empty_body> head(static_cast<http::status>(status), 11);
  head.set(http::field::content_type, boost::beast::string_view(content_type.data(), content_type.size()));
  head.set("x-request-id", id);
  for (const auto& [name, value] : headers) head.set(name, value);
  if (length) head.content_length(*length);
  if (!keep_alive) head.set(http::field::connection, "close");
  std::ostringstream text;
  text << head.base();
  return text.str();
}

std::string AsChunk(std::string_view bytes) { return absl::StrFormat("%x\r\n%s\r\n", bytes.size(), bytes); }

class Connection {
 public:
  virtual ~Connection() = default;
  virtual void Check(SteadyTime now) = 0;  // ends what takes too long
  virtual void CloseWhenIdle() = 0;        // ends after the answer that is under way
  virtual void Close() = 0;                // at once
};

}  // namespace

class HttpServer::State {
 public:
  State(const HttpServerOptions& server_options, HttpHandler request_handler, ErrorBody body)
      : options(server_options), handler(std::move(request_handler)), error_body(std::move(body)) {}

  absl::Status Listen();
  void RaiseFileLimit();
  void Start();
  void Stop();
  asio::awaitable<void> Accept();
  asio::awaitable<void> Sweep();

  const HttpServerOptions options;
  const HttpHandler handler;
  const ErrorBody error_body;
  size_t max_connections = options.max_connections;
  std::atomic<int> port = 0;
  std::atomic<size_t> count = 0;
  std::atomic<bool> finishing = false;
  absl::flat_hash_set<Connection*> connections;  // on the server's thread
  size_t bodies_bytes = 0;                       // reserved
  asio::io_context io{1};
  asio::thread_pool long_requests{1}, huge_requests{1};
  tcp::acceptor acceptor{io};
  std::optional<ssl::context> tls;
  asio::steady_timer sweep_timer{io};
  asio::steady_timer accept_timer{io};
  std::thread thread;
};

namespace {

// A stream is a TCP socket or TLS over one.
template <typename Stream>
class Session final : public Connection, public std::enable_shared_from_this<Session<Stream>> {
 public:
  template <typename... Arguments>
  explicit Session(HttpServer::State& server, Arguments&&... arguments)
      : server_(server), stream_(std::forward<Arguments>(arguments)...), wake_(server.io, kNever) {
    server_.connections.insert(this);
    server_.count = server_.connections.size();
  }
  ~Session() override {
    server_.connections.erase(this);
    server_.count = server_.connections.size();
    server_.bodies_bytes -= body_reserved_;
  }

  asio::awaitable<void> Run() {
    const auto self = this->shared_from_this();
    error_code ec;
    const tcp::endpoint peer = Socket().remote_endpoint(ec);
    if (!ec) peer_ = absl::StrCat(peer.address().to_string(), ":", peer.port());
    if constexpr (!std::is_same_v<Stream, tcp::socket>) {
      read_deadline_ = Now() + server_.options.header_timeout;
      co_await stream_.async_handshake(ssl::stream_base::server,
                                       asio::redirect_error(asio::use_awaitable, ec));
      read_deadline_ = kNever;
      if (ec) co_return;
    }
    StartReading();
    for (;;) {
      if (!(co_await ReadRequest())) break;
      HttpRequest request = TakeRequest();
      const std::string id = request.id;
      const bool head_only = request.method == "HEAD";
      const bool keep_alive = parser_->get().keep_alive();
      const bool is_http10 = parser_->get().version() < 11;
      // The next request's beginning is read meanwhile: so a client's end shows at once.
      StartReading();
      HttpAnswer answer = co_await Handle(std::move(request));
      const bool goes_on = keep_alive && !closing_;
      if (answer.exchange == nullptr) {
        co_await WriteWhole(answer.response, id, goes_on, head_only);
      } else {
        co_await WriteExchange(*answer.exchange, id, goes_on, is_http10);
      }
      if (gone_ || !goes_on || closing_ || (is_http10 && streamed_)) break;
      if (reading_ && buffer_.size() == 0) {
        idle_ = true;
        read_deadline_ = Now() + server_.options.idle_timeout;
      }
    }
    co_await Linger();
  }

  void Check(SteadyTime now) override {
    if (now >= write_deadline_) return Close();
    if (now < read_deadline_) return;
    read_deadline_ = kNever;
    timed_out_ = true;
    error_code ignored;
    Socket().cancel(ignored);
  }
  void CloseWhenIdle() override {
    closing_ = true;
    if (idle_ && buffer_.size() == 0) Close();
  }
  void Close() override {
    error_code ignored;
    Socket().close(ignored);
  }

 private:
  using Parser = http::request_parser<http::string_body>;

  tcp::socket& Socket() {
    if constexpr (std::is_same_v<Stream, tcp::socket>) {
      return stream_;
    } else {
      return stream_.next_layer();
    }
  }

  void StartReading() {
    parser_.emplace();
    parser_->header_limit(static_cast<uint32_t>(server_.options.max_header_bytes));
    parser_->body_limit(server_.options.max_body_bytes);
    header_error_ = {};
    reading_ = true;
    asio::co_spawn(
        server_.io, [self = this->shared_from_this()] { return self->ReadHeader(); }, asio::detached);
  }

  asio::awaitable<void> ReadHeader() {
    error_code ec;
    if (buffer_.size() == 0) {
      if (idle_) read_deadline_ = Now() + server_.options.idle_timeout;
      const size_t read = co_await stream_.async_read_some(buffer_.prepare(kReadBytes),
                                                           asio::redirect_error(asio::use_awaitable, ec));
      buffer_.commit(read);
    }
    if (!ec) {
      idle_ = false;
      read_deadline_ = Now() + server_.options.header_timeout;
      co_await http::async_read_header(stream_, buffer_, *parser_,
                                       asio::redirect_error(asio::use_awaitable, ec));
    }
    read_deadline_ = kNever;
    reading_ = false;
    header_error_ = ec;
    wake_.cancel();
  }

  // Waits until something has changed.
  asio::awaitable<void> Wait() {
    error_code ignored;
    co_await wake_.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
  }

  struct Refusal {
    int status;
    std::string message;
  };

  // The rest of a request whose header is being read; false when there is none, having said why to the
  // client. Temporaries are kept out of expressions with co_await: GCC 12 destroys some of them twice.
  asio::awaitable<bool> ReadRequest() {
    while (reading_) co_await Wait();
    if (header_error_ && !parser_->got_some())
      co_return false;  // the client has left, or was idle for too long
    std::optional<Refusal> refusal = header_error_ ? OfHeader(header_error_) : ReserveBody();
    if (!refusal) {
      if (boost::beast::iequals(parser_->get()[http::field::expect], "100-continue")) {
        std::string bytes(kContinue);
        co_await Write(std::move(bytes));
      }
      error_code ec;
      read_deadline_ = Now() + server_.options.body_timeout;
      co_await http::async_read(stream_, buffer_, *parser_, asio::redirect_error(asio::use_awaitable, ec));
      read_deadline_ = kNever;
      server_.bodies_bytes -= std::exchange(body_reserved_, 0);
      if (!ec) co_return true;
      refusal = OfBody(ec);
      if (!refusal) co_return false;
    }
    co_await Refuse(*refusal);
    co_return false;
  }

  Refusal OfHeader(const error_code& ec) const {
    if (timed_out_) return {408, "the request's header took too long"};
    if (ec == http::error::header_limit) {
      return {431, absl::StrCat("the header is longer than ", server_.options.max_header_bytes, " bytes")};
    }
    if (ec == http::error::body_limit) return TooLong();
    return NotHttp(ec);
  }

  // Checks a header, and counts the body that it announces.
  std::optional<Refusal> ReserveBody() {
    const auto& message = parser_->get();
    const auto transfer_encoding = message[http::field::transfer_encoding];
    if (!transfer_encoding.empty() && !boost::beast::iequals(transfer_encoding, "chunked")) {
      return Refusal{400, "Transfer-Encoding: only chunked is understood"};
    }
    const size_t hosts = message.count(http::field::host);
    if (hosts > 1 || (message.version() >= 11 && hosts == 0))
      return Refusal{400, "a request needs one Host header"};
    const auto declared = parser_->content_length();
    const size_t length = declared ? *declared : parser_->chunked() ? server_.options.max_body_bytes : 0;
    if (length > server_.options.max_body_bytes) return TooLong();
    if (server_.bodies_bytes + length > server_.options.max_bodies_bytes) {
      return Refusal{503, "too many long requests at once: try again later"};
    }
    body_reserved_ = length;
    server_.bodies_bytes += length;
    return std::nullopt;
  }

  // Nothing when the client has left.
  std::optional<Refusal> OfBody(const error_code& ec) const {
    if (timed_out_) return Refusal{408, "the request's body took too long"};
    if (ec == http::error::body_limit) return TooLong();
    const bool left = ec.category() != http::make_error_code(http::error::bad_chunk).category() ||
                      ec == http::error::partial_message || ec == http::error::end_of_stream;
    if (left) return std::nullopt;
    return NotHttp(ec);
  }

  Refusal TooLong() const {
    return {413, absl::StrCat("the body is longer than ", server_.options.max_body_bytes, " bytes")};
  }
  static Refusal NotHttp(const error_code& ec) {
    return {400, absl::StrCat("this is not HTTP: ", ec.message())};
  }

  HttpRequest TakeRequest() {
    auto& message = parser_->get();
    HttpRequest request;
    request.method = std::string(message.method_string());
    const std::string_view target(message.target().data(), message.target().size());
    request.path = std::string(target.substr(0, target.find('?')));
    request.authorization = std::string(message[http::field::authorization]);
    request.id = std::string(message["x-request-id"]);
    if (!IsSoundId(request.id)) request.id = NewId();
    request.peer = peer_;
    request.body = std::move(message.body());
    return request;
  }

  asio::awaitable<HttpAnswer> Handle(HttpRequest request) {
    // Runs on any thread; the session lives as long as somebody may wake it.
    HttpWake wake = [weak = this->weak_from_this(), &io = server_.io] {
      asio::post(io, [weak] {
        if (const auto self = weak.lock()) {
          self->news_ = true;
          self->wake_.cancel();
        }
      });
    };
    const size_t size = request.body.size();
    if (size < kLongBody) co_return server_.handler(std::move(request), std::move(wake));
    co_return co_await asio::co_spawn(
        size < kHugeBody ? server_.long_requests : server_.huge_requests,
        [this, &request, &wake]() -> asio::awaitable<HttpAnswer> {
          co_return server_.handler(std::move(request), std::move(wake));
        },
        asio::use_awaitable);
  }

  asio::awaitable<void> WriteWhole(const HttpResponse& response, const std::string& id, bool keep_alive,
                                   bool head_only = false) {
    std::string bytes = RenderHead(response.status, response.content_type, id, keep_alive, response.headers,
                                   response.body.size());
    if (!head_only) bytes += response.body;
    co_await Write(std::move(bytes));
  }

  asio::awaitable<void> WriteExchange(HttpExchange& exchange, const std::string& id, bool keep_alive,
                                      bool is_http10) {
    bool begun = false;
    for (bool ends = false; !ends;) {
      if (!gone_ && !reading_ && header_error_) gone_ = true;
      if (gone_) {
        exchange.OnDisconnect();
        co_return;
      }
      news_ = false;
      HttpExchange::Progress progress = exchange.Next();
      if (progress.whole != nullptr) {
        co_await WriteWhole(*progress.whole, id, keep_alive);
        co_return;
      }
      std::string bytes;
      if (!begun && (progress.ends || !progress.bytes.empty())) {
        begun = streamed_ = true;
        HttpHeaders headers = {{"cache-control", "no-cache"}};
        if (!is_http10) headers.emplace_back("transfer-encoding", "chunked");
        bytes =
            RenderHead(200, "text/event-stream; charset=utf-8", id, keep_alive && !is_http10, headers, {});
      }
      if (!progress.bytes.empty()) bytes += is_http10 ? progress.bytes : AsChunk(progress.bytes);
      ends = progress.ends;
      if (ends && !is_http10) bytes += "0\r\n\r\n";
      if (!bytes.empty()) {
        co_await Write(std::move(bytes));
      } else if (!ends && !news_) {
        wake_.expires_at(progress.more_at);
        co_await Wait();
        wake_.expires_at(kNever);
      }
    }
  }

  asio::awaitable<void> Write(std::string bytes) {
    if (gone_) co_return;
    const auto extend = [this](const error_code& ec, size_t) {
      write_deadline_ = Now() + server_.options.write_timeout;
      return ec ? size_t{0} : size_t{64} << 10;
    };
    error_code ec;
    co_await asio::async_write(stream_, asio::buffer(bytes), extend,
                               asio::redirect_error(asio::use_awaitable, ec));
    write_deadline_ = kNever;
    if (ec) gone_ = true;
  }

  asio::awaitable<void> Refuse(const Refusal& refusal) {
    HttpResponse response{.status = refusal.status,
                          .body = server_.error_body(refusal.status, refusal.message)};
    if (refusal.status == 503) response.headers.emplace_back("retry-after", "1");
    const std::string id = NewId();
    co_await WriteWhole(response, id, /*keep_alive=*/false);
  }

  // Closing while the client still sends would make its system throw our answer away.
  asio::awaitable<void> Linger() {
    error_code ec;
    if (gone_ || !Socket().is_open()) co_return;
    Socket().shutdown(tcp::socket::shutdown_send, ec);
    if (ec || reading_) co_return Close();
    const SteadyTime end = Now() + kLinger;
    timed_out_ = false;
    for (size_t bytes = 0; !ec && !timed_out_ && bytes < kLingerBytes;) {
      read_deadline_ = end;
      buffer_.clear();
      bytes += co_await Socket().async_read_some(buffer_.prepare(kReadBytes),
                                                 asio::redirect_error(asio::use_awaitable, ec));
    }
    Close();
  }

  HttpServer::State& server_;
  Stream stream_;
  boost::beast::flat_buffer buffer_;
  std::optional<Parser> parser_;
  asio::steady_timer wake_;
  std::string peer_ = "unknown";
  SteadyTime read_deadline_ = kNever, write_deadline_ = kNever;
  error_code header_error_;
  size_t body_reserved_ = 0;
  bool reading_ = false;    // ReadHeader runs
  bool idle_ = true;        // waits for a request
  bool news_ = false;       // since the last call of Next
  bool timed_out_ = false;  // reading was ended by Check
  bool closing_ = false;    // no further request
  bool gone_ = false;       // the client
  bool streamed_ = false;
};

}  // namespace

// Every connection is an open file, and the usual soft limit is 1,024.
void HttpServer::State::RaiseFileLimit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  const rlim_t needed = options.max_connections + kOtherFiles;
  if (limit.rlim_cur < needed) {
    limit.rlim_cur = std::min(needed, limit.rlim_max);
    setrlimit(RLIMIT_NOFILE, &limit);
  }
  if (limit.rlim_cur < needed) {
    max_connections = limit.rlim_cur > 2 * kOtherFiles ? limit.rlim_cur - kOtherFiles : limit.rlim_cur / 2;
    spdlog::warn("at most {} connections: the limit of open files is {} (ulimit -n)", max_connections,
                 limit.rlim_cur);
  }
}

absl::Status HttpServer::State::Listen() {
  RaiseFileLimit();
  error_code ec;
  if (!options.tls_certificate.empty()) {
    tls.emplace(ssl::context::tls_server);
    tls->set_options(ssl::context::default_workarounds | ssl::context::no_tlsv1 | ssl::context::no_tlsv1_1,
                     ec);
    tls->use_certificate_chain_file(options.tls_certificate, ec);
    if (ec) {
      return absl::InvalidArgumentError(absl::StrCat("--tls-cert ", options.tls_certificate,
                                                     ": is not a PEM certificate chain: ", ec.message()));
    }
    tls->use_private_key_file(options.tls_key, ssl::context::pem, ec);
    if (ec) {
      return absl::InvalidArgumentError(absl::StrCat(
          "--tls-key ", options.tls_key, ": is not the certificate's private key in PEM: ", ec.message()));
    }
  }
  tcp::resolver resolver(io);
  const auto results = resolver.resolve(options.host, absl::StrCat(options.port),
                                        tcp::resolver::passive | tcp::resolver::numeric_service, ec);
  if (ec || results.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(options.address_name, ": no such address: ", ec.message()));
  }
  const tcp::endpoint endpoint = results.begin()->endpoint();
  acceptor.open(endpoint.protocol(), ec);
  if (!ec) acceptor.set_option(tcp::acceptor::reuse_address(true), ec);
  if (!ec) acceptor.bind(endpoint, ec);
  if (!ec) acceptor.listen(asio::socket_base::max_listen_connections, ec);
  if (ec) {
    return absl::UnavailableError(absl::StrCat(
        options.address_name, ": cannot listen: ", ec.message(),
        ec == asio::error::address_in_use ? "; choose another port, or stop the server there" : ""));
  }
  port = acceptor.local_endpoint().port();
  return absl::OkStatus();
}

asio::awaitable<void> HttpServer::State::Accept() {
  while (!finishing) {
    error_code ec;
    tcp::socket socket = co_await acceptor.async_accept(asio::redirect_error(asio::use_awaitable, ec));
    if (finishing) co_return;
    if (ec) {
      // Out of file descriptors, mostly.
      accept_timer.expires_after(std::chrono::milliseconds(100));
      co_await accept_timer.async_wait(asio::redirect_error(asio::use_awaitable, ec));
      continue;
    }
    socket.set_option(tcp::no_delay(true), ec);
    const auto spawn = [this](auto session) {
      asio::co_spawn(
          io, [session] { return session->Run(); }, asio::detached);
    };
    if (tls) {
      spawn(std::make_shared<Session<ssl::stream<tcp::socket>>>(*this, std::move(socket), *tls));
    } else {
      spawn(std::make_shared<Session<tcp::socket>>(*this, std::move(socket)));
    }
    while (connections.size() >= max_connections && !finishing) {
      accept_timer.expires_after(std::chrono::milliseconds(10));
      co_await accept_timer.async_wait(asio::redirect_error(asio::use_awaitable, ec));
    }
  }
}

asio::awaitable<void> HttpServer::State::Sweep() {
  for (;;) {
    error_code ec;
    sweep_timer.expires_after(kSweepEvery);
    co_await sweep_timer.async_wait(asio::redirect_error(asio::use_awaitable, ec));
    const SteadyTime now = Now();
    for (Connection* connection : connections) connection->Check(now);
  }
}

void HttpServer::State::Start() {
  asio::co_spawn(
      io, [this] { return Accept(); }, asio::detached);
  asio::co_spawn(
      io, [this] { return Sweep(); }, asio::detached);
  thread = std::thread([this] { io.run(); });
  asio::post(huge_requests, [] {
    const sched_param none = {};
    sched_setscheduler(0, SCHED_IDLE, &none);  // on Linux, of the calling thread
  });
}

void HttpServer::State::Stop() {
  io.stop();
  if (thread.joinable()) thread.join();
  long_requests.join();
  huge_requests.join();
}

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::Create(const HttpServerOptions& options,
                                                               HttpHandler handler, ErrorBody error_body) {
  auto state = std::make_unique<State>(options, std::move(handler), std::move(error_body));
  LONGSPAN_RETURN_IF_ERROR(state->Listen());
  state->Start();
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(state)));
}

HttpServer::HttpServer(std::unique_ptr<State> state) : state_(std::move(state)) {}
HttpServer::~HttpServer() { state_->Stop(); }

int HttpServer::port() const { return state_->port; }
size_t HttpServer::connections() const { return state_->count; }

bool HttpServer::Finish(std::chrono::milliseconds timeout) {
  State& state = *state_;
  asio::post(state.io, [&state] {
    state.finishing = true;
    error_code ignored;
    state.acceptor.close(ignored);
    const auto all = state.connections;
    for (Connection* connection : all) connection->CloseWhenIdle();
  });
  const SteadyTime end = Now() + timeout;
  while (state.count > 0 && Now() < end) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  return state.count == 0;
}

}  // namespace longspan
