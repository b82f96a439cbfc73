#include "comm/liveness_rendezvous.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "kernels/status_macros.h"

namespace longspan {
namespace {

constexpr size_t kMostStrangers = 64;  // connections that have not shown the token yet

absl::Status SystemError(std::string_view what) {
  return absl::UnavailableError(absl::StrCat("heartbeats: ", std::string(what), ": ", std::strerror(errno)));
}

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t bytes = 0;

  sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
};

SocketAddress V4(in_addr host, uint16_t port) {
  SocketAddress address;
  auto* v4 = reinterpret_cast<sockaddr_in*>(&address.storage);
  v4->sin_family = AF_INET;
  v4->sin_addr = host;
  v4->sin_port = htons(port);
  address.bytes = sizeof *v4;
  return address;
}

SocketAddress V6(in6_addr host, uint16_t port) {
  SocketAddress address;
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&address.storage);
  v6->sin6_family = AF_INET6;
  v6->sin6_addr = host;
  v6->sin6_port = htons(port);
  address.bytes = sizeof *v6;
  return address;
}

FileDescriptor NewSocket(int family) {
  return FileDescriptor(socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
}

// Those of this machine that others may know.
std::vector<std::string> OwnHosts() {
  std::vector<std::string> hosts;
  ifaddrs* first = nullptr;
  if (getifaddrs(&first) != 0) return hosts;
  for (const ifaddrs* i = first; i != nullptr; i = i->ifa_next) {
    if (i->ifa_addr == nullptr || (i->ifa_flags & IFF_UP) == 0 || (i->ifa_flags & IFF_LOOPBACK) != 0)
      continue;
    char text[INET6_ADDRSTRLEN] = {};
    const void* host = nullptr;
    if (i->ifa_addr->sa_family == AF_INET) {
      host = &reinterpret_cast<const sockaddr_in*>(i->ifa_addr)->sin_addr;
    } else if (i->ifa_addr->sa_family == AF_INET6) {
      const in6_addr& v6 = reinterpret_cast<const sockaddr_in6*>(i->ifa_addr)->sin6_addr;
      if (!IN6_IS_ADDR_LINKLOCAL(&v6)) host = &v6;
    }
    if (host != nullptr && inet_ntop(i->ifa_addr->sa_family, host, text, sizeof text) != nullptr) {
      hosts.emplace_back(text);
    }
  }
  freeifaddrs(first);
  return hosts;
}

bool SameToken(const LivenessToken& a, const LivenessToken& b) {
  unsigned char differing = 0;
  for (size_t i = 0; i < a.size(); ++i) differing |= a[i] ^ b[i];
  return differing == 0;
}

LivenessMessage Hello(const LivenessToken& token, int rank) {
  LivenessMessage message;
  message.kind = LivenessMessage::Kind::kHello;
  message.rank = rank;
  message.token = token;
  return message;
}

class Deadline {
 public:
  explicit Deadline(Clock::Duration timeout) : end_(std::chrono::steady_clock::now() + timeout) {}

  // For poll; 0 when it has passed.
  int LeftMs() const {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(end_ - std::chrono::steady_clock::now());
    return static_cast<int>(std::max<int64_t>(left.count(), 0));
  }

 private:
  const std::chrono::steady_clock::time_point end_;
};

}  // namespace

std::string LivenessAddress::ToBlob() const {
  std::string blob(reinterpret_cast<const char*>(token.data()), token.size());
  absl::StrAppend(&blob, port);
  for (const std::string& host : hosts) absl::StrAppend(&blob, " ", host);
  return blob;
}

absl::StatusOr<LivenessAddress> LivenessAddress::FromBlob(std::string_view blob) {
  LivenessAddress address;
  if (blob.size() > address.token.size()) {
    std::copy_n(blob.begin(), address.token.size(), address.token.begin());
    std::vector<std::string> words = absl::StrSplit(std::string(blob.substr(address.token.size())), ' ');
    const int port = std::atoi(words[0].c_str());
    if (0 < port && port < 65536) {
      address.port = static_cast<uint16_t>(port);
      address.hosts.assign(words.begin() + 1, words.end());
      return address;
    }
  }
  return absl::InternalError("rank 0 sent an address of wrong form; do all ranks run the same program?");
}

absl::StatusOr<LivenessListener> LivenessListener::Create(bool loopback_only) {
  LivenessAddress address;
  if (getrandom(address.token.data(), address.token.size(), 0) !=
      static_cast<ssize_t>(address.token.size())) {
    return SystemError("no random numbers");
  }
  // One socket for both families, where the system has IPv6 at all.
  FileDescriptor listener = loopback_only ? NewSocket(AF_INET) : NewSocket(AF_INET6);
  const bool v6 = !loopback_only && listener.number() >= 0;
  const int off = 0;
  if (v6) setsockopt(listener.number(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
  if (!loopback_only && !v6) listener = NewSocket(AF_INET);
  SocketAddress own = v6 ? V6(in6addr_any, 0) : V4({htonl(loopback_only ? INADDR_LOOPBACK : INADDR_ANY)}, 0);
  if (listener.number() < 0 || bind(listener.number(), own.get(), own.bytes) != 0 ||
      listen(listener.number(), SOMAXCONN) != 0 ||
      getsockname(listener.number(), own.get(), &own.bytes) != 0) {
    return SystemError("cannot listen on TCP");
  }
  address.port = ntohs(v6 ? reinterpret_cast<sockaddr_in6*>(&own.storage)->sin6_port
                          : reinterpret_cast<sockaddr_in*>(&own.storage)->sin_port);
  if (!loopback_only) address.hosts = OwnHosts();
  address.hosts.emplace_back(kLoopbackHost);
  return LivenessListener(std::move(listener), std::move(address));
}

absl::StatusOr<std::vector<LivenessConnection>> LivenessListener::Accept(int ranks, Clock::Duration timeout) {
  const Deadline deadline(timeout);
  std::vector<LivenessConnection> by_rank(static_cast<size_t>(ranks - 1)), strangers;
  std::vector<pollfd> polled;
  std::vector<LivenessMessage> messages;
  int missing = ranks - 1;
  while (missing > 0) {
    if (deadline.LeftMs() == 0) {
      std::string names;
      for (size_t i = 0; i < by_rank.size(); ++i) {
        if (!by_rank[i].open()) absl::StrAppend(&names, names.empty() ? "" : ", ", i + 1);
      }
      return absl::UnavailableError(absl::StrCat("heartbeats: no connection came from rank ", names));
    }
    polled.assign(1, {socket_.number(), POLLIN, 0});
    for (const LivenessConnection& stranger : strangers) polled.push_back({stranger.socket(), POLLIN, 0});
    if (poll(polled.data(), polled.size(), deadline.LeftMs()) < 0 && errno != EINTR)
      return SystemError("poll");

    for (size_t i = 0; i + 1 < polled.size(); ++i) {
      if (polled[i + 1].revents == 0) continue;
      messages.clear();
      LivenessConnection& stranger = strangers[i];
      const bool open = stranger.Receive(&messages);
      if (messages.empty()) {
        if (!open) stranger.Close();
        continue;
      }
      const LivenessMessage& hello = messages[0];
      const bool ours = hello.kind == LivenessMessage::Kind::kHello &&
                        SameToken(hello.token, address_.token) && 0 < hello.rank && hello.rank < ranks;
      LivenessConnection* place = ours ? &by_rank[static_cast<size_t>(hello.rank - 1)] : nullptr;
      if (ours && !place->open() && stranger.Send(Hello(address_.token, 0))) {
        *place = std::move(stranger);
        --missing;
      }
      stranger.Close();
    }
    std::erase_if(strangers, [](const LivenessConnection& stranger) { return !stranger.open(); });
    FileDescriptor next(accept4(socket_.number(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (next.number() < 0) continue;
    if (strangers.size() == by_rank.size() + kMostStrangers) strangers.erase(strangers.begin());
    strangers.emplace_back(std::move(next));
  }
  return by_rank;
}

absl::StatusOr<LivenessConnection> ConnectToRankZero(const LivenessAddress& address, int own_rank,
                                                     Clock::Duration timeout) {
  struct Attempt {
    LivenessConnection connection;
    std::string name;
    bool connected = false;
  };
  const Deadline deadline(timeout);
  std::vector<Attempt> attempts;
  std::string failures;
  const auto fail = [&failures](Attempt& attempt, const char* reason) {
    absl::StrAppend(&failures, failures.empty() ? "" : ", ", attempt.name, " (", reason, ")");
    attempt.connection.Close();
  };
  for (const std::string& host : address.hosts) {
    in_addr v4;
    in6_addr v6;
    const bool is_v4 = inet_pton(AF_INET, host.c_str(), &v4) == 1;
    if (!is_v4 && inet_pton(AF_INET6, host.c_str(), &v6) != 1) continue;
    SocketAddress remote = is_v4 ? V4(v4, address.port) : V6(v6, address.port);
    Attempt& attempt = attempts.emplace_back();
    attempt.name =
        is_v4 ? absl::StrCat(host, ":", address.port) : absl::StrCat("[", host, "]:", address.port);
    FileDescriptor socket = NewSocket(is_v4 ? AF_INET : AF_INET6);
    if (socket.number() < 0 ||
        (connect(socket.number(), remote.get(), remote.bytes) != 0 && errno != EINPROGRESS)) {
      fail(attempt, std::strerror(errno));
    } else {
      attempt.connection = LivenessConnection(std::move(socket));
    }
  }
  std::vector<pollfd> polled;
  std::vector<LivenessMessage> messages;
  for (;;) {
    std::erase_if(attempts, [](const Attempt& attempt) { return !attempt.connection.open(); });
    const bool late = deadline.LeftMs() == 0;
    if (attempts.empty() || late) {
      for (Attempt& attempt : attempts) fail(attempt, "no answer");
      return absl::UnavailableError(
          absl::StrCat("heartbeats: cannot reach rank 0 over TCP at ", failures,
                       "; hosts of a group must be allowed to connect to each other on any port"));
    }
    polled.clear();
    for (const Attempt& attempt : attempts) {
      const short events = attempt.connected ? POLLIN : POLLOUT;
      polled.push_back({attempt.connection.socket(), events, 0});
    }
    if (poll(polled.data(), polled.size(), deadline.LeftMs()) < 0 && errno != EINTR)
      return SystemError("poll");
    for (size_t i = 0; i < attempts.size(); ++i) {
      Attempt& attempt = attempts[i];
      if (polled[i].revents == 0) continue;
      if (!attempt.connected) {
        int error = 0;
        socklen_t bytes = sizeof error;
        getsockopt(attempt.connection.socket(), SOL_SOCKET, SO_ERROR, &error, &bytes);
        attempt.connected = error == 0 && attempt.connection.Send(Hello(address.token, own_rank));
        if (!attempt.connected) fail(attempt, std::strerror(error != 0 ? error : errno));
        continue;
      }
      messages.clear();
      const bool open = attempt.connection.Receive(&messages);
      if (messages.empty()) {
        if (!open) fail(attempt, "turned away");
        continue;
      }
      const LivenessMessage& hello = messages[0];
      if (hello.kind == LivenessMessage::Kind::kHello && SameToken(hello.token, address.token)) {
        return std::move(attempt.connection);
      }
      fail(attempt, "not rank 0");
    }
  }
}

std::string NetworkName() {
  std::string boot;
  std::ifstream("/proc/sys/kernel/random/boot_id") >> boot;
  char space[64] = {};
  if (boot.empty() || readlink("/proc/self/ns/net", space, sizeof space - 1) <= 0) return "";
  return absl::StrCat(boot, ":", space);
}

}  // namespace longspan
