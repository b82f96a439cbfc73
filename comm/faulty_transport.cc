#include "comm/faulty_transport.h"

#include <algorithm>
#include <list>
#include <utility>

#include "absl/strings/str_cat.h"
#include "comm/seeded_draws.h"
#include "kernels/status_macros.h"

namespace longspan {
namespace {

using Bytes = std::vector<std::byte>;

// One draw for each question about a message.
enum Question : uint64_t {
  kFail,
  kDrop,
  kDuplicate,
  kFlip,
  kFlippedBit,
  kTruncate,
  kLength,
  kDelay,
  kReorder,
  kHowLate
};

class FaultyTransport;

// A connection, for messages that wait to leave on it.
struct Route {
  std::unique_ptr<TransportConnection> wrapped;
  size_t queued = 0;      // messages that wait, and that those to come must not overtake
  uint64_t last_due = 0;  // of these
};

// A message on its way to `wrapped`, in memory of its own.
struct Copy {
  Route* route = nullptr;
  bool is_overtaken = false;
  uint64_t due = 0;
  std::shared_ptr<const std::pair<Bytes, Bytes>> header_and_payload;
};

class FaultyTransport final : public Transport {
 public:
  FaultyTransport(std::unique_ptr<Transport> wrapped, const FaultyTransportOptions& options)
      : wrapped_(std::move(wrapped)), options_(options) {}

  uint64_t id() const override { return wrapped_->id(); }
  const std::string& address() const override { return wrapped_->address(); }
  TransportCounters counters() const override { return wrapped_->counters(); }
  void Wake() override { wrapped_->Wake(); }

  absl::StatusOr<std::unique_ptr<TransportConnection>> Connect(const std::string& address) override;

  bool Progress(Handler handler) override {
    ++calls_;
    const size_t late = late_.size();
    SendDue();
    std::vector<std::pair<SendDone, absl::Status>> ended;
    ended.swap(ended_);
    const bool progressed = wrapped_->Progress(handler);
    for (const auto& [done, status] : ended) {
      if (done) done(status);
    }
    return progressed || late_.size() != late || !ended.empty();
  }

  bool Wait(Clock::Duration timeout) override {
    if (!ended_.empty()) return true;
    for (const Copy& copy : late_) {
      if (options_.clock == nullptr || copy.due <= Now()) return true;  // calls are what it waits for
      timeout = std::min(timeout, Clock::Duration(static_cast<Clock::Duration::rep>(copy.due - Now())));
    }
    return wrapped_->Wait(timeout);
  }

  absl::Status Send(Route& route, ByteSpan header, std::span<const ByteSpan> payload, SendDone done) {
    LONGSPAN_RETURN_IF_ERROR(CheckMessage(header, payload).status());
    LONGSPAN_RETURN_IF_ERROR(route.wrapped->status());
    ++number_;
    if (Happens(kFail, options_.fail)) {
      ended_.emplace_back(std::move(done),
                          absl::UnavailableError(absl::StrCat("message ", number_, " fails on purpose (seed ",
                                                              options_.seed, ")")));
      return absl::OkStatus();
    }
    if (Happens(kDrop, options_.drop)) {
      ended_.emplace_back(std::move(done), absl::OkStatus());
      return absl::OkStatus();
    }
    const bool is_late = Happens(kDelay, options_.delay), is_overtaken = Happens(kReorder, options_.reorder);
    const bool is_doubled = Happens(kDuplicate, options_.duplicate),
               is_flipped = Happens(kFlip, options_.flip);
    const bool is_cut = Happens(kTruncate, options_.truncate);
    const bool follows_late = route.queued > 0;
    if (!is_late && !is_overtaken && !is_doubled && !is_flipped && !is_cut && !follows_late) {
      return route.wrapped->Send(header, payload, std::move(done));
    }

    Copy copy = {.route = &route, .is_overtaken = is_overtaken, .due = Now(), .header_and_payload = nullptr};
    if (is_late || is_overtaken) copy.due += HowLate();
    if (!is_overtaken) copy.due = route.last_due = std::max(copy.due, route.last_due);
    Bytes altered_header(header.begin(), header.end()), altered_payload;
    for (const ByteSpan part : payload) {
      altered_payload.insert(altered_payload.end(), part.begin(), part.end());
    }
    if (is_flipped) Flip(altered_header, altered_payload);
    if (is_cut) Truncate(altered_payload.empty() ? altered_header : altered_payload);
    copy.header_and_payload = std::make_shared<const std::pair<Bytes, Bytes>>(std::move(altered_header),
                                                                              std::move(altered_payload));
    late_.insert(late_.end(), is_doubled ? 2 : 1, copy);
    if (!is_overtaken) route.queued += is_doubled ? 2 : 1;
    ended_.emplace_back(std::move(done), absl::OkStatus());
    SendDue();
    return absl::OkStatus();
  }

  void Forget(const Route& route) {
    late_.remove_if([&](const Copy& copy) { return copy.route == &route; });
  }

 private:
  uint64_t Now() const {
    return options_.clock == nullptr
               ? calls_
               : static_cast<uint64_t>(options_.clock->Now().time_since_epoch().count());
  }
  uint64_t DrawFor(Question question) const { return Draw(options_.seed, question, number_); }
  bool Happens(Question question, double probability) const {
    return DrawFraction(options_.seed, question, number_) < probability;
  }
  uint64_t HowLate() const {
    const uint64_t most = options_.clock == nullptr ? options_.max_delay_calls
                                                    : static_cast<uint64_t>(options_.max_delay.count());
    return most == 0 ? 0 : 1 + DrawFor(kHowLate) % most;
  }
  void Flip(Bytes& header, Bytes& payload) const {
    if (header.empty() && payload.empty()) return;
    const uint64_t bit = DrawFor(kFlippedBit) % ((header.size() + payload.size()) * 8);
    const size_t at = bit / 8;
    (at < header.size() ? header[at] : payload[at - header.size()]) ^= std::byte(1u << bit % 8);
  }
  void Truncate(Bytes& bytes) const {
    if (!bytes.empty()) bytes.resize(DrawFor(kLength) % bytes.size());
  }

  // In the order of their times, and what has the same in the order of Send.
  void SendDue() {
    late_.sort([](const Copy& a, const Copy& b) { return a.due < b.due; });
    while (!late_.empty() && late_.front().due <= Now()) {
      const Copy& copy = late_.front();
      const auto& [header, payload] = *copy.header_and_payload;
      const std::vector<ByteSpan> parts = {payload};
      const absl::Status status = copy.route->wrapped->Send(
          header, parts, [memory = copy.header_and_payload](const absl::Status&) {});
      if (absl::IsResourceExhausted(status)) return;  // later
      if (!copy.is_overtaken) --copy.route->queued;
      late_.pop_front();
    }
  }

  const std::unique_ptr<Transport> wrapped_;
  const FaultyTransportOptions options_;
  uint64_t number_ = 0;  // of the latest message
  uint64_t calls_ = 0;   // of Progress
  std::list<Copy> late_;
  std::vector<std::pair<SendDone, absl::Status>> ended_;  // of which nobody was told yet
};

class FaultyConnection final : public TransportConnection {
 public:
  FaultyConnection(FaultyTransport* transport, std::unique_ptr<TransportConnection> wrapped)
      : transport_(transport) {
    route_.wrapped = std::move(wrapped);
  }
  ~FaultyConnection() override { transport_->Forget(route_); }

  uint64_t peer() const override { return route_.wrapped->peer(); }
  absl::Status status() const override { return route_.wrapped->status(); }
  size_t pending_bytes() const override { return route_.wrapped->pending_bytes(); }
  bool CanSend(size_t message_bytes) const override { return route_.wrapped->CanSend(message_bytes); }
  absl::Status Send(ByteSpan header, std::span<const ByteSpan> payload, SendDone done) override {
    return transport_->Send(route_, header, payload, std::move(done));
  }

 private:
  FaultyTransport* const transport_;
  Route route_;
};

absl::StatusOr<std::unique_ptr<TransportConnection>> FaultyTransport::Connect(const std::string& address) {
  LONGSPAN_ASSIGN_OR_RETURN(std::unique_ptr<TransportConnection> connection, wrapped_->Connect(address));
  return std::make_unique<FaultyConnection>(this, std::move(connection));
}

}  // namespace

std::unique_ptr<Transport> CreateFaultyTransport(std::unique_ptr<Transport> wrapped,
                                                 const FaultyTransportOptions& options) {
  return std::make_unique<FaultyTransport>(std::move(wrapped), options);
}

}  // namespace longspan
