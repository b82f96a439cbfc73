#include "tests/group/stale_transport.h"

#include <random>
#include <utility>
#include <vector>

#include "kvstore/piece_message.h"

namespace longspan::testing {
namespace {

constexpr size_t kMostKept = 256;  // messages, of some handoffs

using Bytes = std::vector<std::byte>;

class StaleConnection final : public TransportConnection {
 public:
  StaleConnection(std::unique_ptr<TransportConnection> wrapped, uint64_t seed, double probability)
      : wrapped_(std::move(wrapped)), random_(seed), probability_(probability) {}

  uint64_t peer() const override { return wrapped_->peer(); }
  absl::Status status() const override { return wrapped_->status(); }
  size_t pending_bytes() const override { return wrapped_->pending_bytes(); }
  bool CanSend(size_t message_bytes) const override { return wrapped_->CanSend(message_bytes); }

  absl::Status Send(ByteSpan header, std::span<const ByteSpan> payload, SendDone done) override {
    Bytes whole;
    for (const ByteSpan part : payload) whole.insert(whole.end(), part.begin(), part.end());
    if (Happens() && !kept_.empty()) {
      const auto& [old_header, old_payload] = kept_[random_() % kept_.size()];
      SendCopy(old_header, old_payload);
    }
    if (Happens()) SendWrong(header, whole);
    std::pair<Bytes, Bytes> message = {Bytes(header.begin(), header.end()), std::move(whole)};
    if (kept_.size() < kMostKept) {
      kept_.push_back(std::move(message));
    } else {
      kept_[random_() % kMostKept] = std::move(message);
    }
    return wrapped_->Send(header, payload, std::move(done));
  }

 private:
  bool Happens() { return static_cast<double>(random_() % 10000) < probability_ * 10000; }

  void SendCopy(const Bytes& header, const Bytes& payload) {
    auto kept = std::make_shared<Bytes>(payload);
    const ByteSpan part(*kept);
    wrapped_->Send(header, {&part, 1}, [kept](const absl::Status&) {}).IgnoreError();
  }

  void SendWrong(ByteSpan header, Bytes payload) {
    PieceMessage piece;
    if (header.size() != 1 + kPieceHeaderBytes || DecodePieceHeader(header.subspan(1), &piece)) return;
    switch (random_() % 3) {
      case 0:
        --piece.handoff.epoch;
        break;
      case 1:
        piece.handoff.token[random_() % piece.handoff.token.size()] ^= std::byte{1};
        break;
      default:
        piece.block_hash.low ^= 1;
        break;
    }
    for (std::byte& byte : payload) byte ^= std::byte{0x55};
    const ByteSpan part(payload);
    const PieceHeader encoded = EncodePieceHeader(piece, {&part, 1});
    Bytes wrong = {header[0]};
    wrong.insert(wrong.end(), encoded.begin(), encoded.end());
    SendCopy(wrong, payload);
  }

  const std::unique_ptr<TransportConnection> wrapped_;
  std::mt19937_64 random_;
  const double probability_;
  std::vector<std::pair<Bytes, Bytes>> kept_;
};

class StaleTransport final : public Transport {
 public:
  StaleTransport(std::unique_ptr<Transport> wrapped, uint64_t seed, double probability)
      : wrapped_(std::move(wrapped)), seed_(seed), probability_(probability) {}

  uint64_t id() const override { return wrapped_->id(); }
  const std::string& address() const override { return wrapped_->address(); }
  absl::StatusOr<std::unique_ptr<TransportConnection>> Connect(const std::string& address) override {
    absl::StatusOr<std::unique_ptr<TransportConnection>> connection = wrapped_->Connect(address);
    if (!connection.ok()) return connection;
    return std::make_unique<StaleConnection>(*std::move(connection), ++seed_, probability_);
  }
  bool Progress(Handler handler) override { return wrapped_->Progress(handler); }
  bool Wait(Clock::Duration timeout) override { return wrapped_->Wait(timeout); }
  void Wake() override { wrapped_->Wake(); }
  TransportCounters counters() const override { return wrapped_->counters(); }

 private:
  const std::unique_ptr<Transport> wrapped_;
  uint64_t seed_;
  const double probability_;
};

}  // namespace

std::unique_ptr<Transport> CreateStaleTransport(std::unique_ptr<Transport> wrapped, uint64_t seed,
                                                double probability) {
  return std::make_unique<StaleTransport>(std::move(wrapped), seed, probability);
}

}  // namespace longspan::testing
