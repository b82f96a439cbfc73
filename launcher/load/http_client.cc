#include "launcher/load/http_client.h"

#include <sys/resource.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/connect.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/buffers_range.hpp>
#include <boost/beast/core/flat_static_buffer.hpp>
#include <boost/beast/http/parser.hpp>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "comm/clock.h"
#include "kernels/status_macros.h"

namespace longspan::load {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using boost::system::error_code;
using tcp = asio::ip::tcp;

constexpr size_t kReadBytes = 8192;
constexpr std::chrono::seconds kSilenceCheck{1};
constexpr double kMaxRetryAfterS = 86'400;

Time Now() { return std::chrono::steady_clock::now(); }

// Passes an answer's body on as it is parsed; the head before it.
struct ListenerBody {
  struct value_type {
    HttpListener* listener = nullptr;
    bool head_told = false;

    template <class Header>
    void TellHead(const Header& header) {
      if (std::exchange(head_told, true)) return;
      HttpHead head;
      head.status = static_cast<int>(header.result_int());
      const std::string type(header[http::field::content_type]);
      head.content_type = absl::AsciiStrToLower(absl::StripAsciiWhitespace(type.substr(0, type.find(';'))));
      double seconds = 0;
      if (absl::SimpleAtod(std::string(header[http::field::retry_after]), &seconds) && seconds >= 0 &&
          seconds <= kMaxRetryAfterS) {
        head.retry_after_s = seconds;
      }
      listener->OnHead(head, Now());
    }
  };

  class reader {
   public:
    template <bool is_request, class Fields>
    reader(http::header<is_request, Fields>& header, value_type& value)
        : tell_head_([&header, &value] { value.TellHead(header); }), value_(value) {}
    void init(const boost::optional<uint64_t>&, error_code& error) {
      tell_head_();
      error = {};
    }
    template <class ConstBuffers>
    size_t put(const ConstBuffers& buffers, error_code& error) {
      error = {};
      size_t bytes = 0;
      for (const asio::const_buffer buffer : beast::buffers_range_ref(buffers)) {
        value_.listener->OnBody({static_cast<const char*>(buffer.data()), buffer.size()}, Now());
        bytes += buffer.size();
      }
      return bytes;
    }
    void finish(error_code& error) { error = {}; }

   private:
    std::function<void()> tell_head_;
    value_type& value_;
  };
};

auto Into(error_code& error) { return asio::redirect_error(asio::use_awaitable, error); }

struct Connection {
  Connection(asio::io_context& io, asio::ssl::context* tls_context) : socket(io) {
    if (tls_context != nullptr) tls.emplace(socket, *tls_context);
  }

  asio::awaitable<size_t> ReadSome(asio::mutable_buffer buffer, error_code& error) {
    size_t bytes = 0;
    if (tls) {
      bytes = co_await tls->async_read_some(buffer, Into(error));
    } else {
      bytes = co_await socket.async_read_some(buffer, Into(error));
    }
    last_byte = Now();
    co_return bytes;
  }

  asio::awaitable<void> Write(std::array<asio::const_buffer, 2> buffers, error_code& error) {
    if (tls) {
      co_await asio::async_write(*tls, buffers, Into(error));
    } else {
      co_await asio::async_write(socket, buffers, Into(error));
    }
    last_byte = Now();
  }

  // Whether an idle connection can be used again: open, and nothing came that nobody asked for.
  bool IsQuiet() {
    char byte = 0;
    return recv(socket.native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 &&
           (errno == EAGAIN || errno == EWOULDBLOCK);
  }

  // Makes what waits for it fail.
  void End(absl::StatusCode why) {
    ended = why;
    error_code ignored;
    socket.close(ignored);
  }

  tcp::socket socket;
  std::optional<asio::ssl::stream<tcp::socket&>> tls;
  beast::flat_static_buffer<kReadBytes> buffer;
  Time last_byte = Now();
  absl::StatusCode ended = absl::StatusCode::kOk;
  bool answered = false;  // something came in answer to the last request
};

}  // namespace

class HttpClient::Impl {
 public:
  explicit Impl(HttpClientOptions options) : options_(std::move(options)) {}

  ~Impl() {
    io_.stop();
    if (thread_.joinable()) thread_.join();
  }

  absl::Status Open() {
    if (options_.url.tls) LONGSPAN_RETURN_IF_ERROR(OpenTls());
    error_code error;
    tcp::resolver resolver(io_);
    const auto found = resolver.resolve(options_.url.host, options_.url.port, error);
    if (error) {
      return absl::UnavailableError(absl::StrCat("cannot reach ", options_.url.ToString(), ": ",
                                                 options_.url.host, ": ", error.message()));
    }
    endpoints_.assign(found.begin(), found.end());
    thread_ = std::thread([this] {
      const auto work = asio::make_work_guard(io_);
      CheckSilence();
      io_.run();
    });
    return absl::OkStatus();
  }

  void Send(HttpRequest request, std::shared_ptr<HttpListener> listener) {
    asio::co_spawn(io_, Exchange(std::move(request), std::move(listener)), asio::detached);
  }

  void At(Time when, std::function<void()> callback) {
    auto timer = std::make_shared<asio::steady_timer>(io_, when);
    timer->async_wait([timer, callback = std::move(callback)](error_code error) {
      if (!error) callback();
    });
  }

  void CancelAll() {
    asio::post(io_, [this] {
      cancelled_ = true;
      for (Connection* connection : active_) connection->End(absl::StatusCode::kCancelled);
    });
  }

 private:
  absl::Status OpenTls() {
    error_code error;
    if (options_.tls_ca_file.empty()) {
      tls_.set_default_verify_paths(error);
    } else {
      tls_.load_verify_file(options_.tls_ca_file, error);
    }
    if (error) {
      return absl::InvalidArgumentError(
          absl::StrCat("cannot use the certificates of ",
                       options_.tls_ca_file.empty() ? "this system" : options_.tls_ca_file, ": ",
                       error.message(), "; a PEM file is needed"));
    }
    tls_.set_verify_mode(asio::ssl::verify_peer);
    tls_.set_verify_callback(asio::ssl::host_name_verification(options_.url.host));
    return absl::OkStatus();
  }

  // A sweep costs less than a timer for each read.
  void CheckSilence() {
    const Time now = Now();
    for (Connection* connection : active_) {
      const double silence_s = ToSeconds(now - connection->last_byte);
      if (silence_s > options_.silence_limit_s) connection->End(absl::StatusCode::kDeadlineExceeded);
    }
    sweep_.expires_after(kSilenceCheck);
    sweep_.async_wait([this](error_code error) {
      if (!error) CheckSilence();
    });
  }

  std::string RequestHead(const HttpRequest& request) const {
    std::string head =
        absl::StrCat(request.method, " ", options_.url.base_path, request.path,
                     " HTTP/1.1\r\nHost: ", options_.url.Authority(),
                     "\r\nUser-Agent: longspan\r\nAccept: text/event-stream, application/json\r\n");
    if (!options_.api_key.empty()) absl::StrAppend(&head, "Authorization: Bearer ", options_.api_key, "\r\n");
    if (!request.body.empty()) {
      absl::StrAppend(&head, "Content-Type: application/json\r\nContent-Length: ", request.body.size(),
                      "\r\n");
    }
    return head + "\r\n";
  }

  // What a failed operation means for the exchange.
  absl::Status Failure(const Connection& connection, absl::StatusCode code, std::string_view what,
                       const error_code& error) const {
    switch (connection.ended) {
      case absl::StatusCode::kCancelled:
        return absl::CancelledError("cancelled");
      case absl::StatusCode::kDeadlineExceeded:
        return absl::DeadlineExceededError(absl::StrCat("nothing came for ", options_.silence_limit_s, " s"));
      default:
        return absl::Status(code, absl::StrCat(std::string(what), ": ", error.message()));
    }
  }

  std::unique_ptr<Connection> TakeIdle() {
    while (!idle_.empty()) {
      std::unique_ptr<Connection> connection = std::move(idle_.back());
      idle_.pop_back();
      if (connection->IsQuiet()) return connection;
    }
    return nullptr;
  }

  asio::awaitable<absl::Status> Connect(Connection& connection) {
    error_code error;
    co_await asio::async_connect(connection.socket, endpoints_, Into(error));
    if (error) co_return Failure(connection, absl::StatusCode::kUnavailable, "cannot connect", error);
    connection.socket.set_option(tcp::no_delay(true), error);
    if (connection.tls) {
      // Addresses are no names to ask for (RFC 6066, 3).
      asio::ip::make_address(options_.url.host, error);
      if (error) SSL_set_tlsext_host_name(connection.tls->native_handle(), options_.url.host.c_str());
      co_await connection.tls->async_handshake(asio::ssl::stream_base::client, Into(error));
      if (error) co_return Failure(connection, absl::StatusCode::kUnavailable, "no TLS connection", error);
    }
    connection.last_byte = Now();
    co_return absl::OkStatus();
  }

  // `reusable` tells whether the connection can serve another exchange.
  asio::awaitable<absl::Status> ReadAnswer(Connection& connection, HttpListener* listener, bool* reusable) {
    http::response_parser<ListenerBody> parser;
    parser.eager(true);
    parser.body_limit(boost::none);
    ListenerBody::value_type& sink = parser.get().body();
    sink.listener = listener;
    error_code error;
    for (;;) {
      const asio::mutable_buffer space =
          connection.buffer.prepare(connection.buffer.max_size() - connection.buffer.size());
      const size_t bytes = co_await connection.ReadSome(space, error);
      if (error == asio::error::eof || error == asio::ssl::error::stream_truncated) {
        // Ends a body without a length.
        error_code unfinished = http::error::partial_message;
        if (parser.got_some()) parser.put_eof(unfinished = {});
        if (!unfinished) co_return absl::OkStatus();
        co_return absl::DataLossError("the connection was closed before the answer's end");
      }
      if (error) co_return Failure(connection, absl::StatusCode::kDataLoss, "the connection broke", error);
      connection.answered = true;
      connection.buffer.commit(bytes);
      while (connection.buffer.size() > 0 && !error && !parser.is_done()) {
        connection.buffer.consume(parser.put(connection.buffer.data(), error));
      }
      if (error && error != http::error::need_more) {
        co_return Failure(connection, absl::StatusCode::kInvalidArgument, "the answer is not HTTP", error);
      }
      if (parser.is_header_done()) sink.TellHead(parser.get().base());
      if (parser.is_done()) break;
      if (connection.buffer.size() == connection.buffer.max_size()) {
        co_return absl::InvalidArgumentError("the answer's header is too long");
      }
    }
    *reusable = parser.keep_alive() && connection.buffer.size() == 0;
    co_return absl::OkStatus();
  }

  asio::awaitable<absl::Status> Talk(Connection& connection, const HttpRequest& request,
                                     HttpListener* listener, bool* reusable) {
    const std::string head = RequestHead(request);
    error_code error;
    co_await connection.Write({asio::buffer(head), asio::buffer(request.body)}, error);
    // A server may answer and close before it has read all of the body.
    if (error && error != asio::error::broken_pipe && error != asio::error::connection_reset) {
      co_return Failure(connection, absl::StatusCode::kDataLoss, "the connection broke", error);
    }
    const absl::Status status = co_await ReadAnswer(connection, listener, reusable);
    co_return status;
  }

  asio::awaitable<void> Exchange(HttpRequest request, std::shared_ptr<HttpListener> listener) {
    if (cancelled_) co_return listener->OnEnd(absl::CancelledError("cancelled"), Now());
    std::unique_ptr<Connection> connection = TakeIdle();
    absl::Status status;
    bool reusable = false;
    if (connection != nullptr) {
      connection->last_byte = Now();
      connection->answered = false;
      active_.insert(connection.get());
      status = co_await Talk(*connection, request, listener.get(), &reusable);
      // The server may have closed it while the request was on its way (RFC 9112, 9.3.1).
      if (!status.ok() && !connection->answered && connection->ended == absl::StatusCode::kOk) {
        active_.erase(connection.get());
        connection.reset();
      }
    }
    if (connection == nullptr) {
      connection = std::make_unique<Connection>(io_, options_.url.tls ? &tls_ : nullptr);
      active_.insert(connection.get());
      status = co_await Connect(*connection);
      if (status.ok()) status = co_await Talk(*connection, request, listener.get(), &reusable);
    }
    active_.erase(connection.get());
    if (reusable) idle_.push_back(std::move(connection));
    connection.reset();
    listener->OnEnd(status, Now());
  }

  const HttpClientOptions options_;
  asio::io_context io_{1};
  asio::ssl::context tls_{asio::ssl::context::tls_client};
  asio::steady_timer sweep_{io_};
  std::vector<tcp::endpoint> endpoints_;
  // The rest belongs to the thread.
  std::vector<std::unique_ptr<Connection>> idle_;
  std::set<Connection*> active_;
  bool cancelled_ = false;
  std::thread thread_;
};

absl::StatusOr<std::unique_ptr<HttpClient>> HttpClient::Create(HttpClientOptions options) {
  rlimit files = {};
  if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
  }
  auto impl = std::make_unique<Impl>(std::move(options));
  LONGSPAN_RETURN_IF_ERROR(impl->Open());
  return std::unique_ptr<HttpClient>(new HttpClient(std::move(impl)));
}

HttpClient::HttpClient(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
HttpClient::~HttpClient() = default;

void HttpClient::Send(HttpRequest request, std::shared_ptr<HttpListener> listener) {
  impl_->Send(std::move(request), std::move(listener));
}
void HttpClient::At(Time when, std::function<void()> callback) { impl_->At(when, std::move(callback)); }
void HttpClient::CancelAll() { impl_->CancelAll(); }

}  // namespace longspan::load
