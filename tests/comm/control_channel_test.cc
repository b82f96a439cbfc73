#include "comm/control_channel.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <optional>
#include <sstream>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace longspan {
namespace {

using std::chrono::seconds;

constexpr seconds kLongest{20};  // for what happens at once on a machine with time

control::FromGroup TokenOf(int64_t run, int32_t id) {
  control::FromGroup message;
  message.mutable_token()->set_run(run);
  message.mutable_token()->set_id(id);
  return message;
}
control::ToGroup CancelOf(int64_t run) {
  control::ToGroup message;
  message.mutable_cancel()->set_run(run);
  return message;
}
int64_t NumberOf(const control::FromGroup& message) { return message.token().id(); }
int64_t NumberOf(const control::ToGroup& message) { return message.cancel().run(); }

// Keeps what it hears, and checks that it hears it one at a time and nothing after the end.
template <typename Message>
class Recorder final : public StreamHandler<Message> {
 public:
  void OnMessage(Message message) override {
    EXPECT_FALSE(inside_.exchange(true));
    std::unique_lock lock(mutex_);
    EXPECT_FALSE(why_) << "a message after the end";
    messages_.push_back(std::move(message));
    changed_.notify_all();
    changed_.wait(lock, [this] { return !held_; });
    lock.unlock();
    inside_ = false;
  }
  void OnClose(const absl::Status& why) override {
    EXPECT_FALSE(inside_);
    const std::lock_guard lock(mutex_);
    EXPECT_FALSE(why_) << "closed twice";
    why_ = why;
    changed_.notify_all();
  }

  // Keeps the stream's thread in OnMessage.
  void Hold(bool held) {
    const std::lock_guard lock(mutex_);
    held_ = held;
    changed_.notify_all();
  }
  // Those heard, once they are so many, or what there is by the end.
  std::vector<Message> Messages(size_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, kLongest, [&] { return messages_.size() >= count || why_; });
    return messages_;
  }
  std::vector<int64_t> Numbers(size_t count) {
    std::vector<int64_t> numbers;
    for (const Message& message : Messages(count)) numbers.push_back(NumberOf(message));
    return numbers;
  }
  absl::Status Closed() {
    std::unique_lock lock(mutex_);
    if (!changed_.wait_for(lock, kLongest, [&] { return why_.has_value(); })) {
      return absl::DeadlineExceededError("it is still open");
    }
    return *why_;
  }
  bool IsClosed() { return !absl::IsDeadlineExceeded(Closed()); }  // in time
  bool closed() {
    const std::lock_guard lock(mutex_);
    return why_.has_value();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Message> messages_;
  std::optional<absl::Status> why_;
  bool held_ = false;
  std::atomic<bool> inside_ = false;
};

using FromGroupRecorder = Recorder<control::FromGroup>;
using ToGroupRecorder = Recorder<control::ToGroup>;

// The coordinator's end of one stream.
struct ServerEnd {
  std::shared_ptr<ToGroupStream> stream;
  std::shared_ptr<FromGroupRecorder> heard = std::make_shared<FromGroupRecorder>();
};

// A server that keeps the ends of its streams in the order in which they come.
class Listener {
 public:
  explicit Listener(const ControlTls& tls = {}) {
    auto server = ListenForGroups("127.0.0.1:0", tls, [this](std::shared_ptr<ToGroupStream> stream) {
      return Accept(std::move(stream));
    });
    EXPECT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
  }

  std::string address() const { return absl::StrCat("127.0.0.1:", server_->port()); }
  ServerEnd End(size_t index) {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(changed_.wait_for(lock, kLongest, [&] { return ends_.size() > index; }));
    return ends_.at(index);
  }
  size_t accepted() {
    const std::lock_guard lock(mutex_);
    return ends_.size();
  }
  void Stop() { server_.reset(); }

 private:
  std::shared_ptr<FromGroupHandler> Accept(std::shared_ptr<ToGroupStream> stream) {
    const std::lock_guard lock(mutex_);
    ends_.push_back({std::move(stream)});
    changed_.notify_all();
    return ends_.back().heard;
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<ServerEnd> ends_;
  std::unique_ptr<ControlServer> server_;
};

// The group's end of one stream.
struct ClientEnd {
  explicit ClientEnd(const std::string& address, const ControlTls& tls = {})
      : stream(JoinCoordinator(address, tls, heard)) {}
  std::shared_ptr<ToGroupRecorder> heard = std::make_shared<ToGroupRecorder>();
  std::shared_ptr<FromGroupStream> stream;
};

// What gRPC says of errors, from the first time that somebody asks.
class ErrorLog {
 public:
  static ErrorLog& Get() {
    static ErrorLog* const log = [] {
      auto* made = new ErrorLog;
      LogControlErrors([made](const std::string& text) { made->Add(text); });
      return made;
    }();
    return *log;
  }
  std::string text() {
    const std::lock_guard lock(mutex_);
    return text_;
  }

 private:
  void Add(const std::string& text) {
    const std::lock_guard lock(mutex_);
    absl::StrAppend(&text_, text, "\n");
  }
  std::mutex mutex_;
  std::string text_;
};

std::vector<int64_t> From0To(int64_t count) {
  std::vector<int64_t> numbers(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) numbers[static_cast<size_t>(i)] = i;
  return numbers;
}

// A socket that listens and never accepts: connections to it come about, and nobody answers.
class SilentPort {
 public:
  SilentPort() : socket_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    EXPECT_EQ(bind(socket_, reinterpret_cast<sockaddr*>(&address), size), 0);
    EXPECT_EQ(listen(socket_, 8), 0);
    EXPECT_EQ(getsockname(socket_, reinterpret_cast<sockaddr*>(&address), &size), 0);
    port_ = ntohs(address.sin_port);
  }
  ~SilentPort() { close(socket_); }
  std::string address() const { return absl::StrCat("127.0.0.1:", port_); }

 private:
  const int socket_;
  int port_ = 0;
};

TEST(ControlChannelTest, MessagesArriveInOrderBothWays) {
  constexpr int64_t kMessages = 5000;
  Listener listener;
  ClientEnd client(listener.address());
  const ServerEnd server = listener.End(0);
  EXPECT_EQ(client.stream->peer(), listener.address());
  EXPECT_FALSE(server.stream->peer().empty());

  std::thread to_group([&] {
    for (int64_t i = 0; i < kMessages; ++i) server.stream->Send(CancelOf(i));
  });
  for (int64_t i = 0; i < kMessages; ++i) client.stream->Send(TokenOf(1, static_cast<int32_t>(i)));
  to_group.join();
  EXPECT_EQ(server.heard->Numbers(kMessages), From0To(kMessages));
  EXPECT_EQ(client.heard->Numbers(kMessages), From0To(kMessages));
  client.stream->Close(absl::OkStatus());
  EXPECT_TRUE(server.heard->Closed().ok()) << server.heard->Closed();
  EXPECT_TRUE(client.heard->IsClosed());
}

// More than any window of the connection holds.
TEST(ControlChannelTest, SendDoesNotWaitForAPeerThatDoesNotRead) {
  constexpr int64_t kMessages = 50000;
  Listener listener;
  ClientEnd client(listener.address());
  const ServerEnd server = listener.End(0);
  server.heard->Hold(true);
  client.heard->Hold(true);
  for (int64_t i = 0; i < kMessages; ++i) {
    client.stream->Send(TokenOf(i, static_cast<int32_t>(i)));
    server.stream->Send(CancelOf(i));
  }
  EXPECT_LE(server.heard->Messages(1).size(), 1u);
  server.heard->Hold(false);
  client.heard->Hold(false);
  EXPECT_EQ(server.heard->Numbers(kMessages), From0To(kMessages));
  EXPECT_EQ(client.heard->Numbers(kMessages), From0To(kMessages));
}

TEST(ControlChannelTest, MessagesMayBeLarge) {
  const std::string text(100 << 20, 'x');
  Listener listener;
  ClientEnd client(listener.address());
  const ServerEnd server = listener.End(0);
  control::FromGroup from_group;
  from_group.mutable_register_()->set_name(text);
  client.stream->Send(std::move(from_group));
  client.stream->Send(TokenOf(1, 7));
  control::ToGroup to_group;
  to_group.mutable_start()->set_grammar(text);
  server.stream->Send(std::move(to_group));
  server.stream->Send(CancelOf(8));

  const std::vector<control::FromGroup> from = server.heard->Messages(2);
  ASSERT_EQ(from.size(), 2u);
  EXPECT_TRUE(from[0].register_().name() == text);
  EXPECT_EQ(NumberOf(from[1]), 7);
  const std::vector<control::ToGroup> to = client.heard->Messages(2);
  ASSERT_EQ(to.size(), 2u);
  EXPECT_TRUE(to[0].start().grammar() == text);
  EXPECT_EQ(NumberOf(to[1]), 8);
}

TEST(ControlChannelTest, AGroupThatClosesInOrderIsHeardToTheEnd) {
  constexpr int64_t kMessages = 20000;
  Listener listener;
  ClientEnd client(listener.address());
  const ServerEnd server = listener.End(0);
  server.heard->Hold(true);
  for (int64_t i = 0; i < kMessages; ++i) client.stream->Send(TokenOf(1, static_cast<int32_t>(i)));
  client.stream->Close(absl::OkStatus());
  client.stream->Send(TokenOf(1, -1));  // dropped
  EXPECT_FALSE(client.heard->closed());
  server.heard->Hold(false);
  EXPECT_TRUE(client.heard->Closed().ok()) << client.heard->Closed();
  EXPECT_TRUE(server.heard->Closed().ok()) << server.heard->Closed();
  EXPECT_EQ(server.heard->Numbers(kMessages), From0To(kMessages));
}

TEST(ControlChannelTest, AGroupClosesBeforeItIsConnected) {
  Listener listener;
  ClientEnd client(listener.address());
  client.stream->Send(TokenOf(1, 5));
  client.stream->Close(absl::OkStatus());
  EXPECT_TRUE(client.heard->Closed().ok()) << client.heard->Closed();
  EXPECT_EQ(listener.End(0).heard->Numbers(1), std::vector<int64_t>{5});
}

TEST(ControlChannelTest, AGroupThatClosesForAnErrorIsGone) {
  Listener listener;
  ClientEnd client(listener.address());
  const ServerEnd server = listener.End(0);
  client.stream->Send(TokenOf(1, 0));
  ASSERT_EQ(server.heard->Messages(1).size(), 1u);
  client.stream->Close(absl::InternalError("the group has failed"));
  client.stream->Close(absl::OkStatus());  // the first one counts
  EXPECT_EQ(client.heard->Closed(), absl::InternalError("the group has failed"));
  // Whether the coordinator hears of the error or of the end alone depends on what comes first.
  EXPECT_TRUE(server.heard->IsClosed());
}

TEST(ControlChannelTest, AGroupHearsWhyItsCoordinatorCloses) {
  for (const absl::Status& why : {absl::OkStatus(), absl::FailedPreconditionError("its model is another"),
                                  absl::UnavailableError("it has said nothing for 3.0 s")}) {
    Listener listener;
    ClientEnd client(listener.address());
    const ServerEnd server = listener.End(0);
    client.stream->Send(TokenOf(1, 0));
    ASSERT_EQ(server.heard->Messages(1).size(), 1u);
    server.stream->Close(why);
    server.stream->Send(CancelOf(1));  // dropped
    server.stream->Close(absl::InternalError("the first one counts"));
    EXPECT_EQ(client.heard->Closed(), why);
    EXPECT_EQ(server.heard->Closed(), why);
    client.stream->Send(TokenOf(1, 1));  // dropped
    client.stream->Close(absl::OkStatus());
    EXPECT_TRUE(client.heard->Messages(0).empty());
  }
}

TEST(ControlChannelTest, AStreamMayBeClosedWhileItIsAccepted) {
  const auto heard = std::make_shared<FromGroupRecorder>();
  const auto server = ListenForGroups("127.0.0.1:0", {}, [&](std::shared_ptr<ToGroupStream> stream) {
    stream->Close(absl::ResourceExhaustedError("no more groups"));
    return heard;
  });
  ASSERT_TRUE(server.ok()) << server.status();
  ClientEnd client(absl::StrCat("127.0.0.1:", (*server)->port()));
  EXPECT_EQ(client.heard->Closed(), absl::ResourceExhaustedError("no more groups"));
  EXPECT_EQ(heard->Closed(), absl::ResourceExhaustedError("no more groups"));
}

// What is on its way to a group that does not read is given up.
TEST(ControlChannelTest, ACoordinatorDoesNotWaitForAGroupThatDoesNotRead) {
  Listener listener;
  ClientEnd client(listener.address());
  const ServerEnd server = listener.End(0);
  client.heard->Hold(true);
  for (int64_t i = 0; i < 100; ++i) {
    control::ToGroup message;
    message.mutable_start()->set_grammar(std::string(1 << 20, 'x'));
    server.stream->Send(std::move(message));
  }
  server.stream->Close(absl::UnavailableError("it does not read"));
  EXPECT_EQ(server.heard->Closed(), absl::UnavailableError("it does not read"));
  client.heard->Hold(false);
  EXPECT_FALSE(client.heard->Closed().ok());
}

TEST(ControlChannelTest, AServerThatEndsClosesItsStreamsAndWaitsForThem) {
  Listener listener;
  std::vector<ClientEnd> clients;
  for (size_t i = 0; i < 5; ++i) clients.emplace_back(listener.address());
  std::vector<ServerEnd> servers;
  for (size_t i = 0; i < clients.size(); ++i) servers.push_back(listener.End(i));
  for (const ServerEnd& server : servers) server.stream->Send(CancelOf(1));
  for (ClientEnd& client : clients) ASSERT_EQ(client.heard->Messages(1).size(), 1u);
  listener.Stop();
  for (const ServerEnd& server : servers) {
    EXPECT_TRUE(server.heard->closed());
    server.stream->Send(CancelOf(2));  // dropped
    server.stream->Close(absl::OkStatus());
  }
  for (ClientEnd& client : clients) EXPECT_FALSE(client.heard->Closed().ok());
}

TEST(ControlChannelTest, NothingKeepsAStreamThatIsClosed) {
  Listener listener;
  std::weak_ptr<FromGroupStream> stream;
  std::weak_ptr<ToGroupRecorder> handler;
  {
    ClientEnd client(listener.address());
    const ServerEnd server = listener.End(0);
    stream = client.stream;
    handler = client.heard;
    // Without them the stream lives on, and can be talked to from the other end.
    const auto heard = client.heard;
    client.stream.reset();
    client.heard.reset();
    server.stream->Send(CancelOf(3));
    EXPECT_EQ(heard->Numbers(1), std::vector<int64_t>{3});
    server.stream->Close(absl::OkStatus());
    EXPECT_TRUE(heard->IsClosed());
  }
  const auto end = std::chrono::steady_clock::now() + kLongest;
  while (!(stream.expired() && handler.expired()) && std::chrono::steady_clock::now() < end) {
    std::this_thread::yield();
  }
  EXPECT_TRUE(stream.expired());
  EXPECT_TRUE(handler.expired());
}

TEST(ControlChannelTest, AServerThatIsNotThereClosesTheStream) {
  std::string address;
  {
    Listener listener;
    address = listener.address();
  }
  ClientEnd client(address);
  client.stream->Send(TokenOf(1, 1));
  EXPECT_TRUE(absl::IsUnavailable(client.heard->Closed())) << client.heard->Closed();
  ClientEnd nowhere("no-such-host.invalid:1");
  EXPECT_TRUE(absl::IsUnavailable(nowhere.heard->Closed())) << nowhere.heard->Closed();
}

TEST(ControlChannelTest, AGroupGivesUpAServerThatDoesNotAnswer) {
  const SilentPort port;
  ClientEnd at_once(port.address()), in_order(port.address());
  at_once.stream->Send(TokenOf(1, 1));
  at_once.stream->Close(absl::CancelledError("the group ends"));
  EXPECT_EQ(at_once.heard->Closed(), absl::CancelledError("the group ends"));
  in_order.stream->Send(TokenOf(1, 1));
  in_order.stream->Close(absl::OkStatus());
  EXPECT_FALSE(in_order.heard->closed());
  in_order.stream->Close(absl::CancelledError("the group ends"));
  EXPECT_TRUE(absl::IsCancelled(in_order.heard->Closed())) << in_order.heard->Closed();
}

TEST(ControlChannelTest, AnAddressThatCannotBeHadIsNamed) {
  ErrorLog::Get();
  Listener listener;
  const auto accept = [](std::shared_ptr<ToGroupStream>) { return std::make_shared<FromGroupRecorder>(); };
  for (const std::string& address :
       {listener.address(), std::string("192.0.2.1:0"), std::string("no port")}) {
    const auto server = ListenForGroups(address, {}, accept);
    ASSERT_TRUE(absl::IsFailedPrecondition(server.status())) << server.status();
    EXPECT_NE(server.status().message().find(address), std::string::npos) << server.status();
  }
}

// Whoever closes, and whenever: what arrives of one thread is what it sent first.
TEST(ControlChannelTest, ThreadsSendWhileEitherSideCloses) {
  constexpr int kThreads = 4, kMessages = 500;
  for (int round = 0; round < 20; ++round) {
    Listener listener;
    ClientEnd client(listener.address());
    const ServerEnd server = listener.End(0);
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([&, t] {
        for (int i = 0; i < kMessages; ++i) {
          client.stream->Send(TokenOf(t, i));
          server.stream->Send(CancelOf(t * kMessages + i));
          if (t == 0 && i == 10 * round) {
            if (round % 4 == 0) client.stream->Close(absl::OkStatus());
            if (round % 4 == 1) client.stream->Close(absl::InternalError("it has failed"));
            if (round % 4 == 2) server.stream->Close(absl::OkStatus());
            if (round % 4 == 3) server.stream->Close(absl::UnavailableError("it is late"));
          }
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_TRUE(server.heard->IsClosed()) << "round " << round;
    EXPECT_TRUE(client.heard->IsClosed()) << "round " << round;
    std::vector<int64_t> next(kThreads, 0);
    for (const control::FromGroup& message : server.heard->Messages(0)) {
      EXPECT_EQ(NumberOf(message), next.at(static_cast<size_t>(message.token().run()))++);
    }
    // What the thread that has closed had sent before.
    if (round % 4 == 0) {
      EXPECT_GE(next[0], 10 * round + 1);
    }
    next.assign(kThreads, 0);
    for (const control::ToGroup& message : client.heard->Messages(0)) {
      const int64_t number = NumberOf(message);
      EXPECT_EQ(number % kMessages, next.at(static_cast<size_t>(number / kMessages))++);
    }
  }
}

std::string TextOf(const std::filesystem::path& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

// An authority, and what it has signed for 127.0.0.1.
class Authority {
 public:
  explicit Authority(const std::string& name) : folder_(testing::TempDir() + "control_channel_test_" + name) {
    std::filesystem::remove_all(folder_);
    const std::string command = absl::StrCat(LONGSPAN_MAKE_CERTS, " '", folder_.string(), "' 127.0.0.1 2>&1");
    EXPECT_EQ(std::system(command.c_str()), 0) << command;
  }
  ~Authority() { std::filesystem::remove_all(folder_); }
  ControlTls tls() const {
    return {TextOf(folder_ / "ca.pem"), TextOf(folder_ / "host.pem"), TextOf(folder_ / "host.key")};
  }

 private:
  const std::filesystem::path folder_;
};

TEST(ControlChannelTest, WithTlsEachSideProvesItself) {
  const Authority ours("ours"), foreign("foreign");
  ErrorLog& log = ErrorLog::Get();
  Listener listener(ours.tls());
  {
    ClientEnd client(listener.address(), ours.tls());
    client.stream->Send(TokenOf(1, 1));
    const ServerEnd server = listener.End(0);
    EXPECT_EQ(server.heard->Numbers(1), std::vector<int64_t>{1});
    server.stream->Send(CancelOf(2));
    EXPECT_EQ(client.heard->Numbers(1), std::vector<int64_t>{2});
    client.stream->Close(absl::OkStatus());
    EXPECT_TRUE(server.heard->Closed().ok()) << server.heard->Closed();
    EXPECT_TRUE(client.heard->IsClosed());
  }
  ControlTls trusts_ours = foreign.tls();
  trusts_ours.ca = ours.tls().ca;
  ControlTls without_certificate;
  without_certificate.ca = ours.tls().ca;
  for (const ControlTls& tls : {ControlTls(), foreign.tls(), trusts_ours, without_certificate}) {
    ClientEnd client(listener.address(), tls);
    client.stream->Send(TokenOf(1, 1));
    EXPECT_TRUE(absl::IsUnavailable(client.heard->Closed())) << client.heard->Closed();
  }
  EXPECT_EQ(listener.accepted(), 1u);
  EXPECT_NE(log.text().find("certificate verify failed"), std::string::npos) << log.text();

  // One that wants no proof gets none.
  Listener without;
  ClientEnd client(without.address(), ours.tls());
  EXPECT_TRUE(absl::IsUnavailable(client.heard->Closed())) << client.heard->Closed();
  EXPECT_EQ(without.accepted(), 0u);

  // A certificate that is not the key's.
  ControlTls mixed = ours.tls();
  mixed.key = foreign.tls().key;
  const auto server = ListenForGroups("127.0.0.1:0", mixed, [](std::shared_ptr<ToGroupStream>) {
    return std::make_shared<FromGroupRecorder>();
  });
  EXPECT_TRUE(absl::IsFailedPrecondition(server.status())) << server.status();
}

}  // namespace
}  // namespace longspan
