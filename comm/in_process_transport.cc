#include "comm/in_process_transport.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "kernels/check.h"
#include "kernels/status_macros.h"

namespace longspan {
namespace {

constexpr char kAddressPrefix[] = "in-process:";

struct OwnedPayload final : PayloadMemory {
  std::vector<std::byte> bytes;
};

struct Ended {
  SendDone done;
  absl::Status status;
};

struct Link;

struct Arrival {
  ReceivedMessage message;
  std::shared_ptr<Link> link;
  size_t pending_bytes = 0;
  SendDone done;
};

struct Mailbox {
  std::deque<Arrival> arrivals;
  std::deque<Ended> ended;
  bool woken = false;
  std::condition_variable changed;
  TransportCounters counters;
};

// A connection, as sender and receiver share it.
struct Link {
  uint64_t from = 0, to = 0;
  size_t pending_bytes = 0;
  absl::Status status;
};

// Everything that transports share, under one lock.
class Network final : public InProcessNetwork, public std::enable_shared_from_this<Network> {
 public:
  std::unique_ptr<Transport> CreateTransport(const TransportOptions& options) override;

  // Ends a send, whose sender may be gone.
  void End(Arrival arrival, const absl::Status& status) {
    arrival.link->pending_bytes -= arrival.pending_bytes;
    const auto sender = mailboxes.find(arrival.link->from);
    if (sender == mailboxes.end()) return;
    if (status.ok()) {
      ++sender->second.counters.sent_messages;
      sender->second.counters.sent_bytes += arrival.message.payload.size();
    }
    sender->second.ended.push_back({std::move(arrival.done), status});
    sender->second.changed.notify_all();
  }

  std::mutex mutex;
  uint64_t last_id = 0;
  std::map<uint64_t, Mailbox> mailboxes;                                 // of the transports that live
  std::map<std::pair<uint64_t, uint64_t>, std::shared_ptr<Link>> links;  // by sender and receiver
};

class InProcessConnection final : public TransportConnection {
 public:
  InProcessConnection(std::shared_ptr<Network> network, std::shared_ptr<Link> link, size_t max_pending_bytes)
      : network_(std::move(network)), link_(std::move(link)), max_pending_bytes_(max_pending_bytes) {}

  ~InProcessConnection() override {
    const std::lock_guard lock(network_->mutex);
    network_->links.erase({link_->from, link_->to});
    const auto receiver = network_->mailboxes.find(link_->to);
    if (receiver == network_->mailboxes.end()) return;
    std::deque<Arrival> others;
    for (Arrival& arrival : receiver->second.arrivals) {
      if (arrival.link == link_) {
        network_->End(std::move(arrival), absl::CancelledError("the connection was closed"));
      } else {
        others.push_back(std::move(arrival));
      }
    }
    receiver->second.arrivals = std::move(others);
  }

  uint64_t peer() const override { return link_->to; }
  absl::Status status() const override {
    const std::lock_guard lock(network_->mutex);
    return link_->status;
  }
  size_t pending_bytes() const override {
    const std::lock_guard lock(network_->mutex);
    return link_->pending_bytes;
  }
  bool CanSend(size_t message_bytes) const override {
    const std::lock_guard lock(network_->mutex);
    return link_->status.ok() && FitsPending(message_bytes, link_->pending_bytes, max_pending_bytes_);
  }

  absl::Status Send(ByteSpan header, std::span<const ByteSpan> payload, SendDone done) override {
    LONGSPAN_ASSIGN_OR_RETURN(const size_t bytes, CheckMessage(header, payload));
    auto memory = std::make_unique<OwnedPayload>();
    memory->bytes.reserve(bytes);
    for (const ByteSpan part : payload) memory->bytes.insert(memory->bytes.end(), part.begin(), part.end());

    const std::lock_guard lock(network_->mutex);
    LONGSPAN_RETURN_IF_ERROR(link_->status);
    const size_t message_bytes = header.size() + bytes;
    if (!FitsPending(message_bytes, link_->pending_bytes, max_pending_bytes_)) {
      return PendingFull(message_bytes, link_->pending_bytes, max_pending_bytes_);
    }
    Arrival arrival;
    arrival.pending_bytes = PendingBytes(message_bytes);
    link_->pending_bytes += arrival.pending_bytes;
    arrival.link = link_;
    arrival.done = std::move(done);
    arrival.message.from = link_->from;
    arrival.message.header.assign(header.begin(), header.end());
    arrival.message.payload = memory->bytes;
    arrival.message.memory = std::move(memory);
    Mailbox& receiver = network_->mailboxes.at(link_->to);
    receiver.arrivals.push_back(std::move(arrival));
    receiver.changed.notify_all();
    return absl::OkStatus();
  }

 private:
  const std::shared_ptr<Network> network_;
  const std::shared_ptr<Link> link_;
  const size_t max_pending_bytes_;
};

class InProcessTransport final : public Transport {
 public:
  InProcessTransport(std::shared_ptr<Network> network, uint64_t id, const TransportOptions& options)
      : network_(std::move(network)),
        id_(id),
        options_(options),
        address_(absl::StrCat(kAddressPrefix, id)) {}

  ~InProcessTransport() override {
    const std::lock_guard lock(network_->mutex);
    const absl::Status gone = absl::UnavailableError(absl::StrCat("peer ", address_, " has ended"));
    for (const auto& [ends, link] : network_->links) {
      LONGSPAN_CHECK(ends.first != id_);  // connections are destroyed before their transport
      if (ends.second == id_) link->status = gone;
    }
    for (Arrival& arrival : Own().arrivals) network_->End(std::move(arrival), gone);
    network_->mailboxes.erase(id_);
  }

  uint64_t id() const override { return id_; }
  const std::string& address() const override { return address_; }

  absl::StatusOr<std::unique_ptr<TransportConnection>> Connect(const std::string& address) override {
    uint64_t peer = 0;
    if (!address.starts_with(kAddressPrefix) ||
        !absl::SimpleAtoi(address.substr(sizeof(kAddressPrefix) - 1), &peer)) {
      return absl::InvalidArgumentError(
          absl::StrCat("the address of a peer, ", address.size(), " bytes, is not one of this process"));
    }
    const std::lock_guard lock(network_->mutex);
    if (!network_->mailboxes.contains(peer)) {
      return absl::UnavailableError(absl::StrCat("no peer has the address ", address));
    }
    const auto [link, is_new] = network_->links.try_emplace({id_, peer});
    if (!is_new) return absl::AlreadyExistsError(absl::StrCat("there is a connection to ", address));
    link->second = std::make_shared<Link>();
    link->second->from = id_;
    link->second->to = peer;
    return std::make_unique<InProcessConnection>(network_, link->second, options_.max_pending_bytes);
  }

  bool Progress(Handler handler) override {
    std::deque<Arrival> arrivals;
    std::deque<Ended> ended;
    {
      const std::lock_guard lock(network_->mutex);
      Mailbox& own = Own();
      arrivals.swap(own.arrivals);
      for (Arrival& arrival : arrivals) {
        ++own.counters.received_messages;
        own.counters.received_bytes += arrival.message.payload.size();
        network_->End({.message = {.from = 0, .header = {}, .payload = arrival.message.payload, .memory = {}},
                       .link = arrival.link,
                       .pending_bytes = arrival.pending_bytes,
                       .done = std::move(arrival.done)},
                      absl::OkStatus());
      }
      ended.swap(own.ended);
    }
    for (Arrival& arrival : arrivals) handler(std::move(arrival.message));
    for (Ended& send : ended) {
      if (send.done) send.done(send.status);
    }
    return !arrivals.empty() || !ended.empty();
  }

  bool Wait(Clock::Duration timeout) override {
    std::unique_lock lock(network_->mutex);
    Mailbox& own = Own();
    constexpr Clock::Duration kLongest = std::chrono::hours(24);  // later times may not be representable
    const bool changed = own.changed.wait_for(lock, std::min(timeout, kLongest), [&] {
      return own.woken || !own.arrivals.empty() || !own.ended.empty();
    });
    own.woken = false;
    return changed;
  }

  void Wake() override {
    const std::lock_guard lock(network_->mutex);
    Own().woken = true;
    Own().changed.notify_all();
  }

  TransportCounters counters() const override {
    const std::lock_guard lock(network_->mutex);
    return Own().counters;
  }

 private:
  Mailbox& Own() const { return network_->mailboxes.at(id_); }

  const std::shared_ptr<Network> network_;
  const uint64_t id_;
  const TransportOptions options_;
  const std::string address_;
};

std::unique_ptr<Transport> Network::CreateTransport(const TransportOptions& options) {
  const std::lock_guard lock(mutex);
  mailboxes[++last_id];
  return std::make_unique<InProcessTransport>(shared_from_this(), last_id, options);
}

}  // namespace

std::shared_ptr<InProcessNetwork> CreateInProcessNetwork() { return std::make_shared<Network>(); }

}  // namespace longspan
