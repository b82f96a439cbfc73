#include "runtime/api/http_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace longspan {
namespace {

using std::chrono::milliseconds;

// A connection to the server under test.
class Client {
 public:
  explicit Client(int port) : fd_(socket(AF_INET, SOCK_STREAM, 0)) {
    const timeval limit{.tv_sec = 20, .tv_usec = 0};
    setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address), 0) << std::strerror(errno);
  }
  ~Client() { Close(); }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  void Send(const std::string& text) {
    EXPECT_EQ(send(fd_, text.data(), text.size(), MSG_NOSIGNAL), static_cast<ssize_t>(text.size()));
  }
  // Until the server closes, or `text` has come.
  std::string ReadUntil(const std::string& text) {
    std::string all;
    char part[4096];
    while (text.empty() || all.find(text) == std::string::npos) {
      const ssize_t count = recv(fd_, part, sizeof part, 0);
      if (count <= 0) break;
      all.append(part, static_cast<size_t>(count));
    }
    return all;
  }
  std::string ReadAll() { return ReadUntil(""); }
  void Close() {
    if (fd_ >= 0) close(fd_);
    fd_ = -1;
  }

 private:
  int fd_;
};

// Streams a number of events, each from a thread of its own making, or goes on until the client leaves.
class Ticker final : public HttpExchange {
 public:
  Ticker(int events, HttpWake wake, std::atomic<int>* left)
      : events_(events), wake_(std::move(wake)), left_(left), thread_([this] { Run(); }) {}
  ~Ticker() override {
    stop_ = true;
    thread_.join();
  }

  Progress Next() override {
    Progress progress;
    const int due = made_;
    for (; told_ < due; ++told_) progress.bytes += "data: " + std::to_string(told_) + "\n\n";
    progress.ends = told_ == events_;
    return progress;
  }
  void OnDisconnect() override {
    stop_ = true;
    ++*left_;
  }

 private:
  void Run() {
    while (!stop_ && (events_ < 0 || made_ < events_)) {
      ++made_;
      wake_();
      std::this_thread::sleep_for(milliseconds(1));
    }
  }

  const int events_;  // negative: no end
  const HttpWake wake_;
  std::atomic<int>* const left_;
  std::atomic<int> made_ = 0;
  std::atomic<bool> stop_ = false;
  int told_ = 0;
  std::thread thread_;
};

// Sends three events by the clock: nobody wakes the server.
class Timed final : public HttpExchange {
 public:
  Progress Next() override {
    Progress progress;
    const auto now = std::chrono::steady_clock::now();
    if (now >= next_) {
      progress.bytes = "data: " + std::to_string(told_++) + "\n\n";
      next_ = now + milliseconds(20);
    }
    progress.more_at = next_;
    progress.ends = told_ == 3;
    return progress;
  }
  void OnDisconnect() override {}

 private:
  std::chrono::steady_clock::time_point next_ = std::chrono::steady_clock::now() + milliseconds(20);
  int told_ = 0;
};

class HttpServerTest : public testing::Test {
 protected:
  void Start(HttpServerOptions options = {}) {
    options.port = 0;
    absl::StatusOr<std::unique_ptr<HttpServer>> server = HttpServer::Create(
        options,
        [this](HttpRequest request, HttpWake wake) -> HttpAnswer {
          if (request.path == "/stream") return {{}, std::make_shared<Ticker>(20, std::move(wake), &left_)};
          if (request.path == "/endless") return {{}, std::make_shared<Ticker>(-1, std::move(wake), &left_)};
          if (request.path == "/timed") return {{}, std::make_shared<Timed>()};
          // More than the system's buffers hold.
          if (request.path == "/large") return {{.body = std::string(64 << 20, 'x')}, nullptr};
          return {{.content_type = "text/plain", .body = std::to_string(request.body.size())}, nullptr};
        },
        [](int status, const std::string& message) { return std::to_string(status) + " " + message; });
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
  }
  void ExpectSoon(const std::function<bool()>& condition, const char* what) {
    for (int i = 0; i < 2000 && !condition(); ++i) std::this_thread::sleep_for(milliseconds(5));
    EXPECT_TRUE(condition()) << what;
  }

  std::atomic<int> left_ = 0;
  std::unique_ptr<HttpServer> server_;
};

std::string Get(const std::string& path, const std::string& more = "") {
  return "GET " + path + " HTTP/1.1\r\nHost: a\r\n" + more + "\r\n";
}

TEST_F(HttpServerTest, StreamsToManyAtOnce) {
  Start();
  std::vector<std::thread> threads;
  std::atomic<int> whole = 0;
  for (int i = 0; i < 16; ++i) {
    threads.emplace_back([&] {
      Client client(server_->port());
      client.Send(Get("/stream"));
      const std::string answer = client.ReadUntil("\r\n0\r\n\r\n");
      whole += answer.find("HTTP/1.1 200 OK") == 0 && answer.find("data: 19\n\n") != std::string::npos;
      client.Send(Get("/", "Connection: close\r\n"));
      whole += client.ReadAll().find("HTTP/1.1 200 OK") == 0;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(whole, 32);
}

TEST_F(HttpServerTest, SendsWhatIsDueLater) {
  Start();
  Client client(server_->port());
  client.Send(Get("/timed"));
  EXPECT_NE(client.ReadUntil("\r\n0\r\n\r\n").find("data: 2\n\n"), std::string::npos);
}

TEST_F(HttpServerTest, NoticesClientsThatLeave) {
  Start();
  for (int i = 0; i < 8; ++i) {
    Client client(server_->port());
    client.Send(Get("/endless"));
    client.ReadUntil("data: 3");
  }
  ExpectSoon([&] { return left_ == 8; }, "all have left");
  ExpectSoon([&] { return server_->connections() == 0; }, "no connections");
}

TEST_F(HttpServerTest, LongBodiesComeWhole) {
  Start();
  Client client(server_->port());
  const std::string body(3 << 20, 'x');
  client.Send("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: " +
              std::to_string(body.size()) + "\r\n\r\n");
  EXPECT_EQ(client.ReadUntil("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
  client.Send(body);
  EXPECT_NE(client.ReadUntil("3145728").find("HTTP/1.1 200 OK"), std::string::npos);
}

TEST_F(HttpServerTest, SlowHeadersBodiesAndIdleConnectionsEnd) {
  HttpServerOptions options;
  options.header_timeout = options.body_timeout = options.idle_timeout = milliseconds(300);
  Start(options);
  Client idle(server_->port()), header(server_->port()), body(server_->port());
  header.Send("GET / HT");
  body.Send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf");
  EXPECT_EQ(idle.ReadAll(), "");
  EXPECT_EQ(header.ReadAll().find("HTTP/1.1 408 "), 0);
  EXPECT_EQ(body.ReadAll().find("HTTP/1.1 408 "), 0);
}

TEST_F(HttpServerTest, AClientThatTakesNothingIsDropped) {
  HttpServerOptions options;
  options.write_timeout = milliseconds(300);
  Start(options);
  Client client(server_->port());
  client.Send(Get("/large"));
  ExpectSoon([&] { return server_->connections() == 1; }, "connected");
  ExpectSoon([&] { return server_->connections() == 0; }, "dropped");
}

TEST_F(HttpServerTest, BodiesTogetherAreBounded) {
  HttpServerOptions options;
  options.max_body_bytes = 1000;
  options.max_bodies_bytes = 1500;
  Start(options);
  Client first(server_->port()), second(server_->port());
  const std::string head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n";
  first.Send(head);
  // The first one is counted before the second is looked at.
  Client probe(server_->port());
  probe.Send(Get("/", "Connection: close\r\n"));
  probe.ReadAll();
  second.Send(head);
  EXPECT_EQ(second.ReadAll().find("HTTP/1.1 503 "), 0);
  first.Send(std::string(1000, 'x'));
  EXPECT_NE(first.ReadUntil("\r\n\r\n1000").find("200 OK"), std::string::npos);
  Client third(server_->port());
  third.Send(head + std::string(1000, 'x'));
  EXPECT_NE(third.ReadUntil("\r\n\r\n1000").find("200 OK"), std::string::npos);
}

TEST_F(HttpServerTest, FinishingLetsAnswersEnd) {
  Start();
  Client idle(server_->port()), busy(server_->port());
  busy.Send(Get("/stream"));
  busy.ReadUntil("data: 1");
  EXPECT_TRUE(server_->Finish(milliseconds(20000)));
  EXPECT_NE(busy.ReadAll().find("data: 19\n\n"), std::string::npos);
  EXPECT_EQ(idle.ReadAll(), "");
}

}  // namespace
}  // namespace longspan
