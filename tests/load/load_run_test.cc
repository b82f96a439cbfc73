// Runs against a server of a few lines, for the sanitizers: what the client does is tested by
// bench_serve_test.py.
#include "launcher/load/load_run.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "launcher/load/http_fetch.h"

namespace longspan::load {
namespace {

// Answers every request with a stream of two pieces; of each fourth, nothing after the first when `hang`.
class TinyServer {
 public:
  explicit TinyServer(bool hang) : hang_(hang), listener_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    EXPECT_EQ(bind(listener_, reinterpret_cast<sockaddr*>(&address), size), 0);
    EXPECT_EQ(listen(listener_, 100), 0);
    EXPECT_EQ(getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size), 0);
    port_ = ntohs(address.sin_port);
    acceptor_ = std::thread([this] {
      for (;;) {
        const int connection = accept(listener_, nullptr, nullptr);
        if (connection < 0) return;
        connections_.emplace_back([this, connection] { Serve(connection); });
      }
    });
  }

  // The clients must have gone.
  ~TinyServer() {
    shutdown(listener_, SHUT_RDWR);
    acceptor_.join();
    for (std::thread& thread : connections_) thread.join();
    close(listener_);
  }

  Url url() const { return ParseUrl(absl::StrCat("127.0.0.1:", port_)).value(); }
  int hanging() const { return hanging_; }

 private:
  static void Say(int connection, const std::string& text) {
    (void)send(connection, text.data(), text.size(), MSG_NOSIGNAL);
  }
  static std::string Chunk(const std::string& text) {
    const std::string event = absl::StrCat("data: ", text, "\n\n");
    return absl::StrCat(absl::Hex(event.size()), "\r\n", event, "\r\n");
  }

  void Serve(int connection) {
    std::string received;
    char buffer[4096];
    for (;;) {
      const ssize_t count = recv(connection, buffer, sizeof buffer, 0);
      if (count <= 0) break;
      received.append(buffer, static_cast<size_t>(count));
      // Bodies end with a brace, and hold none but this and their first.
      if (!received.ends_with("}") && !received.ends_with("\r\n\r\n")) continue;
      if (received.starts_with("GET")) {
        Say(connection, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
      } else {
        Say(connection,
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
        Say(connection, Chunk("{\"choices\":[{\"text\":\"a\"}]}"));
        if (hang_ && ++asked_ % 4 == 0) {
          ++hanging_;
        } else {
          Say(connection, Chunk("{\"choices\":[{\"text\":\"b\",\"finish_reason\":\"length\"}]}"));
          Say(connection, "0\r\n\r\n");
        }
      }
      received.clear();
    }
    close(connection);
  }

  const bool hang_;
  const int listener_;
  int port_ = 0;
  std::atomic<int> asked_ = 0, hanging_ = 0;
  std::thread acceptor_;
  std::vector<std::thread> connections_;  // of the acceptor
};

Workload SomeWorkload(decltype(WorkloadOptions::arrivals) arrivals, int64_t requests) {
  WorkloadOptions options;
  options.arrivals = arrivals;
  options.input = TokenLengths::Parse("20").value();
  options.output = TokenLengths::Parse("2").value();
  options.requests = requests;
  return Workload(options);
}

// Without an object within the body.
RequestFormat SomeFormat() {
  return RequestFormat::Create(Endpoint::kCompletions, "", "{\"stream_options\": null}",
                               Prompts::OfIds({7}, 0))
      .value();
}

std::unique_ptr<HttpClient> Client(const Url& url) {
  HttpClientOptions options;
  options.url = url;
  return HttpClient::Create(options).value();
}

TEST(LoadRunTest, EndsWhenAllIsDone) {
  const TinyServer server(false);
  const std::unique_ptr<HttpClient> client = Client(server.url());
  EXPECT_EQ(Fetch(*client, {.method = "GET", .path = "/", .body = ""}).value().body, "ok");
  for (const auto& arrivals : {decltype(WorkloadOptions::arrivals)(ClosedLoop{8}),
                               decltype(WorkloadOptions::arrivals)(PoissonArrivals{500})}) {
    const auto run = LoadRun::Start(*client, SomeWorkload(arrivals, 100), SomeFormat(), {});
    while (!run->WaitFor(std::chrono::milliseconds(1))) run->Progress();
    EXPECT_EQ(run->Progress().completed, 100);
    const LoadResult result = run->TakeResult();
    ASSERT_EQ(result.records.size(), 100u);
    for (int64_t i = 0; i < 100; ++i) {
      const RequestRecord& record = result.records[static_cast<size_t>(i)];
      EXPECT_EQ(record.index, i);
      EXPECT_TRUE(record.completed()) << record.error;
      EXPECT_EQ(record.completion_tokens, 2);
      EXPECT_LE(record.scheduled_s, record.sent_s);
      EXPECT_LE(record.sent_s, record.first_token_s);
      EXPECT_LE(record.first_token_s, record.last_token_s);
      EXPECT_LE(record.last_token_s, record.end_s);
    }
  }
}

TEST(LoadRunTest, Stops) {
  const TinyServer server(true);
  const std::unique_ptr<HttpClient> client = Client(server.url());
  const auto run = LoadRun::Start(*client, SomeWorkload(ClosedLoop{8}, 1000), SomeFormat(), {});
  while (server.hanging() < 8) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  run->Stop();
  while (!run->WaitFor(std::chrono::milliseconds(10))) {
  }
  const LoadResult result = run->TakeResult();
  EXPECT_TRUE(result.stopped);
  EXPECT_EQ(result.records.size(), 32u);
  EXPECT_EQ(std::count_if(result.records.begin(), result.records.end(),
                          [](const RequestRecord& record) { return record.outcome == Outcome::kCancelled; }),
            8);
}

TEST(LoadRunTest, AClientMayEndInTheMiddle) {
  const TinyServer server(true);
  std::unique_ptr<HttpClient> client = Client(server.url());
  const auto run = LoadRun::Start(*client, SomeWorkload(ClosedLoop{8}, 1000), SomeFormat(), {});
  while (server.hanging() < 4) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  client.reset();
  EXPECT_FALSE(run->WaitFor(std::chrono::milliseconds(0)));
}

}  // namespace
}  // namespace longspan::load
