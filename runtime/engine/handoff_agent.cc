#include "runtime/engine/handoff_agent.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "kernels/check.h"

namespace longspan {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kLookEvery{100};
constexpr milliseconds kAskAfter{500};  // without a piece once the source has computed all
constexpr int kMostRounds = 5;          // of asking, before a handoff is given up
constexpr milliseconds kTellAgain{1000};
constexpr std::chrono::minutes kForgetTally{1};

// First byte of a header.
enum class MessageKind : uint8_t { kPiece = 1, kResend = 2, kEnd = 3 };

// Of kResend and kEnd: what follows the kind.
struct Small {
  HandoffToken token{};
  uint64_t epoch = 0;
  int32_t rank = 0;  // that sends it
  uint32_t complete = 0;
  int64_t moved_bytes = 0, refused_pieces = 0;
};

std::vector<std::byte> HeaderOf(MessageKind kind, const Small& small) {
  std::vector<std::byte> header(1 + sizeof small);
  header[0] = static_cast<std::byte>(kind);
  std::memcpy(header.data() + 1, &small, sizeof small);
  return header;
}

bool ReadSmall(ByteSpan header, Small* small) {
  if (header.size() != sizeof *small) return false;
  std::memcpy(small, header.data(), sizeof *small);
  return true;
}

HandoffPlan PlanOf(const KvShape& shape, const KvPlacement& source, const KvPlacement& destination,
                   int64_t tokens) {
  absl::StatusOr<HandoffPlan> plan =
      HandoffPlan::Create({.shape = shape, .source = source, .destination = destination, .tokens = tokens});
  LONGSPAN_CHECK(plan.ok());  // the engine has checked it
  return *std::move(plan);
}

}  // namespace

HandoffAgent::HandoffAgent(std::unique_ptr<Transport> transport, Options options, const Clock& clock)
    : options_(std::move(options)),
      clock_(clock),
      transport_(std::move(transport)),
      thread_([this] { Run(); }) {}

HandoffAgent::~HandoffAgent() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  transport_->Wake();
  thread_.join();
  connections_.clear();
}

void HandoffAgent::SetOnArrival(OnArrival on_arrival) {
  const std::lock_guard lock(mutex_);
  on_arrival_ = std::move(on_arrival);
}

void HandoffAgent::Receive(const KvOrder& order, BlockPages pages) {
  HandoffPlan plan =
      PlanOf(options_.shape, {order.peer.grid, order.peer.shift}, {options_.grid, order.shift}, order.tokens);
  BlockReceiverOptions receiver;
  receiver.handoff = order.peer.handoff;
  receiver.rank = options_.rank;
  receiver.block_hashes = order.hashes;
  receiver.store = [this, pages = std::move(pages)](const PieceRange& pieces,
                                                    std::span<const std::byte> payload) {
    CopyToPages(payload, options_.pages, pieces, pages.at({pieces.layer_group, pieces.block}));
  };
  std::shared_ptr<BlockReceiver> opened = inbox_.Open(plan, std::move(receiver));
  {
    const std::lock_guard lock(mutex_);
    const Clock::Time now = clock_.Now();
    Incoming& incoming = incoming_
                             .try_emplace(order.peer.handoff.token, Incoming{.plan = std::move(plan),
                                                                             .peer = order.peer,
                                                                             .receiver = std::move(opened),
                                                                             .quiet_since = now,
                                                                             .told = now})
                             .first->second;
    if (options_.rank == 0)
      tallies_.try_emplace(order.peer.handoff.token, Tally{.begin = now, .ranks = {}, .sum = {}});
    if (incoming.receiver->complete()) EndIncoming(incoming, /*complete=*/true);
  }
  transport_->Wake();
}

void HandoffAgent::Send(const KvOrder& order) {
  HandoffPlan plan =
      PlanOf(options_.shape, {options_.grid, order.shift}, {order.peer.grid, order.peer.shift}, order.tokens);
  const std::lock_guard lock(mutex_);
  outgoing_.try_emplace(order.peer.handoff.token, Outgoing{.plan = std::move(plan),
                                                           .peer = order.peer,
                                                           .hashes = order.hashes,
                                                           .pages = {},
                                                           .sent = 0,
                                                           .queue = {}});
}

void HandoffAgent::Computed(const HandoffId& handoff, int64_t computed, BlockPages pages) {
  {
    const std::lock_guard lock(mutex_);
    const auto it = outgoing_.find(handoff.token);
    if (it == outgoing_.end()) return;
    Outgoing& outgoing = it->second;
    outgoing.pages.merge(pages);
    for (const BlockTransfer& transfer : outgoing.plan.Sends(options_.rank, outgoing.sent, computed)) {
      outgoing.queue.push_back(transfer);
    }
    outgoing.sent = computed;
  }
  transport_->Wake();
}

void HandoffAgent::SourceDone(const HandoffId& handoff) {
  const std::lock_guard lock(mutex_);
  const auto it = incoming_.find(handoff.token);
  if (it == incoming_.end()) return;
  it->second.source_done = true;
  it->second.quiet_since = clock_.Now();
}

void HandoffAgent::Close(const HandoffId& handoff) {
  {
    const std::lock_guard lock(mutex_);
    outgoing_.erase(handoff.token);
    incoming_.erase(handoff.token);
    tallies_.erase(handoff.token);
  }
  inbox_.Close(handoff);
}

void HandoffAgent::Run() {
  for (;;) {
    bool busy = transport_->Progress([this](ReceivedMessage message) { Take(message); });
    if (SendSome()) busy = true;
    std::deque<std::pair<HandoffId, KvArrival>> arrivals;
    {
      const std::lock_guard lock(mutex_);
      if (ending_) return;
      LookAtQuiet(clock_.Now());
      arrivals.swap(arrivals_);
    }
    for (const auto& [handoff, arrival] : arrivals) on_arrival_(handoff, arrival);
    if (!busy) transport_->Wait(kLookEvery);
  }
}

void HandoffAgent::Take(const ReceivedMessage& message) {
  if (message.header.empty()) return;
  const ByteSpan header = ByteSpan(message.header).subspan(1);
  switch (static_cast<MessageKind>(message.header[0])) {
    case MessageKind::kPiece:
      TakePiece(header, message.payload);
      break;
    case MessageKind::kResend:
      TakeResend(header, message.payload);
      break;
    case MessageKind::kEnd:
      TakeEnd(header);
      break;
  }
}

void HandoffAgent::TakePiece(ByteSpan header, ByteSpan payload) {
  const std::optional<PieceRejection> rejection = inbox_.Accept(header, payload);
  PieceMessage piece;
  if (DecodePieceHeader(header, &piece)) return;
  const std::lock_guard lock(mutex_);
  const auto it = incoming_.find(piece.handoff.token);
  if (it == incoming_.end()) return;
  Incoming& incoming = it->second;
  incoming.moved_bytes += static_cast<int64_t>(payload.size());
  if (!rejection) {
    incoming.quiet_since = clock_.Now();
    incoming.rounds = 0;
    if (!incoming.ended && incoming.receiver->complete()) EndIncoming(incoming, /*complete=*/true);
    return;
  }
  ++incoming.refused_pieces;
  if (incoming.ended) return;
  if (const std::vector<BlockTransfer> refused = incoming.receiver->TakeRefused(); !refused.empty()) {
    AskAgain(incoming, refused);
  }
}

void HandoffAgent::TakeResend(ByteSpan header, ByteSpan payload) {
  Small small;
  if (!ReadSmall(header, &small)) return;
  const std::lock_guard lock(mutex_);
  const auto it = outgoing_.find(small.token);
  if (it == outgoing_.end() || it->second.peer.handoff.epoch != small.epoch) return;
  Outgoing& outgoing = it->second;
  if (small.rank < 0 || small.rank >= outgoing.peer.grid.ranks()) return;
  const std::vector<BlockTransfer> all = outgoing.plan.Receives(small.rank);
  for (size_t at = 0; at + sizeof(uint32_t) <= payload.size(); at += sizeof(uint32_t)) {
    uint32_t index = 0;
    std::memcpy(&index, payload.data() + at, sizeof index);
    if (index >= all.size() || all[index].source_rank != options_.rank) continue;
    const PieceRange& pieces = all[index].pieces;
    // What is not computed yet will be sent anyway, and what is in the queue too.
    if (!outgoing.pages.contains({pieces.layer_group, pieces.block})) continue;
    if (std::find(outgoing.queue.begin(), outgoing.queue.end(), all[index]) != outgoing.queue.end()) continue;
    if (pieces.block * options_.shape.block_size + outgoing.plan.FilledTokens(pieces.block) > outgoing.sent) {
      continue;
    }
    outgoing.queue.push_back(all[index]);
  }
}

void HandoffAgent::TakeEnd(ByteSpan header) {
  Small small;
  if (!ReadSmall(header, &small) || options_.rank != 0) return;
  const std::lock_guard lock(mutex_);
  const auto incoming = incoming_.find(small.token);
  // One may end before rank 0 has begun: it says so again.
  if (incoming == incoming_.end() || incoming->second.peer.handoff.epoch != small.epoch) return;
  Tally& tally = tallies_.at(small.token);
  if (!tally.ranks.insert(small.rank).second) return;
  tally.sum.moved_bytes += small.moved_bytes;
  tally.sum.refused_pieces += small.refused_pieces;
  const bool all = static_cast<int>(tally.ranks.size()) == options_.grid.ranks();
  // A failure is told at once, a success when all have it.
  if (tally.sum.useful_bytes != 0 || (small.complete != 0 && !all)) return;
  tally.sum.complete = small.complete != 0;
  tally.sum.useful_bytes = incoming->second.plan.total_bytes();
  arrivals_.emplace_back(incoming->second.peer.handoff, tally.sum);
}

void HandoffAgent::EndIncoming(Incoming& incoming, bool complete) {
  incoming.ended = true;
  if (!complete) incoming.receiver->Close();
  TellEnd(incoming);
}

void HandoffAgent::TellEnd(Incoming& incoming) {
  incoming.told = clock_.Now();
  notes_.push_back(
      {.address = options_.addresses[0],
       .header = HeaderOf(MessageKind::kEnd, {.token = incoming.peer.handoff.token,
                                              .epoch = incoming.peer.handoff.epoch,
                                              .rank = options_.rank,
                                              .complete = incoming.receiver->complete() ? 1U : 0U,
                                              .moved_bytes = incoming.moved_bytes,
                                              .refused_pieces = incoming.refused_pieces}),
       .payload = {}});
}

void HandoffAgent::AskAgain(const Incoming& incoming, const std::vector<BlockTransfer>& missing) {
  const std::vector<BlockTransfer> all = incoming.plan.Receives(options_.rank);
  std::map<int, std::vector<std::byte>> indices;  // by source rank
  size_t at = 0;
  for (const BlockTransfer& transfer : missing) {
    while (at < all.size() && !(all[at] == transfer)) ++at;  // both ascend
    LONGSPAN_CHECK(at < all.size());
    const auto index = static_cast<uint32_t>(at);
    const auto* bytes = reinterpret_cast<const std::byte*>(&index);
    std::vector<std::byte>& list = indices[transfer.source_rank];
    if (list.size() + sizeof index <= kMaxPayloadBytes) list.insert(list.end(), bytes, bytes + sizeof index);
  }
  for (auto& [source, list] : indices) {
    notes_.push_back({.address = incoming.peer.addresses[static_cast<size_t>(source)],
                      .header = HeaderOf(MessageKind::kResend, {.token = incoming.peer.handoff.token,
                                                                .epoch = incoming.peer.handoff.epoch,
                                                                .rank = options_.rank}),
                      .payload = std::move(list)});
  }
}

void HandoffAgent::LookAtQuiet(Clock::Time now) {
  for (auto& [token, incoming] : incoming_) {
    if (incoming.ended) {
      if (now - incoming.told > kTellAgain) TellEnd(incoming);
      continue;
    }
    if (!incoming.source_done || now - incoming.quiet_since < kAskAfter) continue;
    incoming.quiet_since = now;
    if (++incoming.rounds > kMostRounds) {
      EndIncoming(incoming, /*complete=*/false);
    } else {
      AskAgain(incoming, incoming.receiver->Missing());
    }
  }
}

TransportConnection* HandoffAgent::ConnectionTo(const std::string& address) {
  std::unique_ptr<TransportConnection>& connection = connections_[address];
  if (connection != nullptr && connection->status().ok()) return connection.get();
  connection.reset();
  absl::StatusOr<std::unique_ptr<TransportConnection>> made = transport_->Connect(address);
  // What cannot be sent is asked for again.
  if (made.ok()) connection = *std::move(made);
  return connection.get();
}

bool HandoffAgent::SendSome() {
  bool busy = false;
  // A message whose connection is full stays; what nobody takes is dropped, and will be asked for again.
  const auto send = [&](const std::string& address, ByteSpan header, std::vector<std::byte> payload) {
    TransportConnection* connection = ConnectionTo(address);
    if (connection == nullptr) return;
    auto kept = std::make_shared<std::vector<std::byte>>(std::move(payload));
    const ByteSpan part(*kept);
    connection->Send(header, {&part, 1}, [kept](const absl::Status&) {}).IgnoreError();
    busy = true;
  };
  std::deque<Note> notes;
  {
    const std::lock_guard lock(mutex_);
    notes.swap(notes_);
  }
  for (Note& note : notes) send(note.address, note.header, std::move(note.payload));

  const std::lock_guard lock(mutex_);
  for (auto& [token, outgoing] : outgoing_) {
    while (!outgoing.queue.empty()) {
      const BlockTransfer& transfer = outgoing.queue.front();
      const std::string& address = outgoing.peer.addresses[static_cast<size_t>(transfer.destination_rank)];
      const auto bytes = static_cast<size_t>(outgoing.plan.TransferBytes(transfer.pieces));
      TransportConnection* connection = ConnectionTo(address);
      if (connection != nullptr && !connection->CanSend(bytes + kPieceHeaderBytes + 1)) break;
      if (connection != nullptr) {
        const std::vector<int32_t>& pages =
            outgoing.pages.at({transfer.pieces.layer_group, transfer.pieces.block});
        std::vector<std::byte> payload;
        payload.reserve(bytes);
        for (const auto& span : PayloadSpans(options_.pages, transfer.pieces, pages)) {
          payload.insert(payload.end(), span.begin(), span.end());
        }
        const std::span<const std::byte> whole(payload);
        const PieceHeader piece = EncodePieceHeader(
            DescribePieces(outgoing.plan, outgoing.peer.handoff, outgoing.hashes, transfer.pieces),
            {&whole, 1});
        std::vector<std::byte> header(1 + piece.size());
        header[0] = static_cast<std::byte>(MessageKind::kPiece);
        std::copy(piece.begin(), piece.end(), header.begin() + 1);
        send(address, header, std::move(payload));
      }
      outgoing.queue.pop_front();
    }
  }
  return busy;
}

}  // namespace longspan
