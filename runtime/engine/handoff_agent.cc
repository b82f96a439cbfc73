#include "runtime/engine/handoff_agent.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <tuple>
#include <utility>

#include <spdlog/spdlog.h>

#include "kernels/check.h"
#include "kvstore/xxh3.h"

namespace longspan {
namespace {

constexpr int kMostHastyAsks = 16;  // for damaged pieces, without an intact one between
constexpr std::chrono::minutes kForgetTally{1};
constexpr std::chrono::minutes kTellStrangersAgain{1};
constexpr size_t kMostTallies = 4096;
constexpr std::chrono::seconds kForgetEarly{1};
constexpr size_t kMaxEarlyBytes = size_t{8} << 20;
constexpr std::chrono::minutes kForgetPeer{1};  // without a message to it

// First byte of a header.
enum class MessageKind : uint8_t { kPiece = 1, kResend = 2, kEnd = 3 };

// Of kResend and kEnd: what follows the kind. A checksum of it all, and of the payload, comes after it.
struct Small {
  HandoffToken token{};
  uint64_t epoch = 0;
  int32_t rank = 0;  // that sends it
  uint32_t complete = 0;
  int64_t moved_bytes = 0;
  PieceRejectionCounts refused_pieces = {};
};
using Checksum = std::array<uint64_t, 2>;
constexpr size_t kChecksumOffset = 1 + sizeof(Small);

Checksum ChecksumOf(ByteSpan header, ByteSpan payload) {
  Xxh3 checksum;
  checksum.Add(header.first(kChecksumOffset));
  checksum.Add(payload);
  return checksum.Digest();
}

std::vector<std::byte> HeaderOf(MessageKind kind, const Small& small, ByteSpan payload) {
  std::vector<std::byte> header(kChecksumOffset + sizeof(Checksum));
  header[0] = static_cast<std::byte>(kind);
  std::memcpy(header.data() + 1, &small, sizeof small);
  const Checksum checksum = ChecksumOf(header, payload);
  std::memcpy(header.data() + kChecksumOffset, checksum.data(), sizeof checksum);
  return header;
}

bool ReadSmall(ByteSpan header, ByteSpan payload, Small* small) {
  if (header.size() != kChecksumOffset + sizeof(Checksum)) return false;
  Checksum checksum;
  std::memcpy(checksum.data(), header.data() + kChecksumOffset, sizeof checksum);
  if (checksum != ChecksumOf(header, payload)) return false;
  std::memcpy(small, header.data() + 1, sizeof *small);
  return true;
}

// The order of HandoffPlan::Receives.
bool IsBefore(const BlockTransfer& a, const BlockTransfer& b) {
  const auto key = [](const PieceRange& p) {
    return std::tuple(p.block, p.layer_group, p.heads.begin, p.layers.begin);
  };
  return key(a.pieces) < key(b.pieces);
}

HandoffPlan PlanOf(const KvShape& shape, const KvPlacement& source, const KvPlacement& destination,
                   int64_t tokens) {
  absl::StatusOr<HandoffPlan> plan =
      HandoffPlan::Create({.shape = shape, .source = source, .destination = destination, .tokens = tokens});
  LONGSPAN_CHECK(plan.ok());  // the engine has checked it
  return *std::move(plan);
}

void SendTo(TransportConnection& connection, ByteSpan header, std::vector<std::byte> payload) {
  auto kept = std::make_shared<std::vector<std::byte>>(std::move(payload));
  const ByteSpan part(*kept);
  connection.Send(header, {&part, 1}, [kept](const absl::Status&) {}).IgnoreError();
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
  early_.clear();
  peers_.clear();
}

void HandoffAgent::SetOnArrival(OnArrival on_arrival) {
  const std::lock_guard lock(arrival_mutex_);
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
    opened_ = true;
    if (incoming.receiver->complete()) EndIncoming(incoming, /*complete=*/true);
    Settle(incoming);
  }
  transport_->Wake();
}

void HandoffAgent::Send(const KvOrder& order) {
  HandoffPlan plan =
      PlanOf(options_.shape, {options_.grid, order.shift}, {order.peer.grid, order.peer.shift}, order.tokens);
  auto outgoing = std::make_shared<Outgoing>(std::move(plan), order);
  const std::lock_guard lock(mutex_);
  outgoing_.try_emplace(order.peer.handoff.token, std::move(outgoing));
}

void HandoffAgent::Computed(const HandoffId& handoff, int64_t computed, BlockPages pages) {
  {
    const std::lock_guard lock(mutex_);
    const auto it = outgoing_.find(handoff.token);
    if (it == outgoing_.end()) return;
    Outgoing& outgoing = *it->second;
    outgoing.pages.merge(pages);
    for (const BlockTransfer& transfer : outgoing.plan.Sends(options_.rank, outgoing.sent, computed)) {
      outgoing.queues[static_cast<size_t>(transfer.destination_rank)].push_back(transfer);
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
  std::shared_ptr<Outgoing> outgoing;
  {
    const std::lock_guard lock(mutex_);
    if (const auto it = outgoing_.find(handoff.token); it != outgoing_.end()) {
      outgoing = std::move(it->second);
      outgoing_.erase(it);
    }
    incoming_.erase(handoff.token);
    tallies_.erase(handoff.token);
  }
  if (outgoing != nullptr) {
    const std::lock_guard lock(outgoing->reading);
    outgoing->closed = true;
  }
  inbox_.Close(handoff);
}

void HandoffAgent::Run() {
  for (;;) {
    bool busy = transport_->Progress([this](ReceivedMessage message) { Take(std::move(message)); });
    TakeEarly();
    busy = SendNotes() || busy;
    busy = SendPieces() || busy;
    if (const Clock::Time now = clock_.Now(); now >= next_look_) {
      next_look_ = now + options_.patience.look_every;
      Look(now);
    }
    std::deque<std::pair<HandoffId, KvArrival>> arrivals;
    {
      const std::lock_guard lock(mutex_);
      if (ending_) return;
      arrivals.swap(arrivals_);
      busy = busy || !notes_.empty();
    }
    for (const auto& [handoff, arrival] : arrivals) {
      const std::lock_guard lock(arrival_mutex_);
      if (on_arrival_) on_arrival_(handoff, arrival);
    }
    if (!busy) transport_->Wait(options_.patience.look_every);
  }
}

void HandoffAgent::Take(ReceivedMessage message) {
  if (message.header.empty()) return;
  switch (static_cast<MessageKind>(message.header[0])) {
    case MessageKind::kPiece:
      TakePiece(std::move(message));
      break;
    case MessageKind::kResend:
      TakeResend(message.header, message.payload);
      break;
    case MessageKind::kEnd:
      TakeEnd(message.header);
      break;
  }
}

void HandoffAgent::TakePiece(ReceivedMessage message) {
  const ByteSpan header = ByteSpan(message.header).subspan(1), payload = message.payload;
  PieceMessage piece;
  if (DecodePieceHeader(header, &piece)) {
    ++strangers_;
    return;
  }
  {
    const std::lock_guard lock(mutex_);
    if (!incoming_.contains(piece.handoff.token)) {
      early_bytes_ += PendingBytes(payload.size());
      early_.push_back({clock_.Now(), std::move(message)});
      return;
    }
  }
  const std::optional<PieceRejection> rejection = inbox_.Accept(header, payload);
  const std::lock_guard lock(mutex_);
  const auto it = incoming_.find(piece.handoff.token);
  if (it == incoming_.end()) return;
  Incoming& incoming = it->second;
  incoming.moved_bytes += static_cast<int64_t>(payload.size());
  if (!rejection) {
    incoming.quiet_since = clock_.Now();
    incoming.rounds = incoming.refused_in_a_row = 0;
    if (!incoming.ended && incoming.receiver->complete()) EndIncoming(incoming, /*complete=*/true);
    return;
  }
  ++incoming.refused_pieces[static_cast<size_t>(*rejection)];
  if (incoming.ended || ++incoming.refused_in_a_row > kMostHastyAsks) return;
  if (const std::vector<BlockTransfer> refused = incoming.receiver->TakeRefused(); !refused.empty()) {
    AskAgain(incoming, refused);
  }
}

// Those whose handoff was opened meanwhile; others are kept for a while.
void HandoffAgent::TakeEarly() {
  const Clock::Time now = clock_.Now();
  while (!early_.empty() && (early_bytes_ > kMaxEarlyBytes || now - early_.front().came > kForgetEarly)) {
    early_bytes_ -= PendingBytes(early_.front().message.payload.size());
    early_.pop_front();
    ++strangers_;
  }
  // What was on its way to a request that is cancelled comes late too: no reason to fill the log.
  if (strangers_ > 0 && (!strangers_told_ || now - *strangers_told_ > kTellStrangersAgain)) {
    spdlog::warn("{} messages with KV are refused: of a handoff that is over, or of none at all", strangers_);
    strangers_ = 0;
    strangers_told_ = now;
  }
  {
    const std::lock_guard lock(mutex_);
    if (!std::exchange(opened_, false)) return;
  }
  std::deque<EarlyPiece> early = std::exchange(early_, {});
  early_bytes_ = 0;
  for (EarlyPiece& piece : early) TakePiece(std::move(piece.message));
}

void HandoffAgent::TakeResend(ByteSpan header, ByteSpan payload) {
  Small small;
  if (!ReadSmall(header, payload, &small)) return;
  const std::lock_guard lock(mutex_);
  const auto it = outgoing_.find(small.token);
  if (it == outgoing_.end() || it->second->peer.handoff.epoch != small.epoch) return;
  Outgoing& outgoing = *it->second;
  if (small.rank < 0 || small.rank >= outgoing.peer.grid.ranks()) return;
  const std::vector<BlockTransfer> all = outgoing.plan.Receives(small.rank);
  std::deque<BlockTransfer>& queue = outgoing.queues[static_cast<size_t>(small.rank)];
  std::vector<bool> queued(all.size());
  for (const BlockTransfer& transfer : queue) {
    queued[static_cast<size_t>(std::lower_bound(all.begin(), all.end(), transfer, IsBefore) - all.begin())] =
        true;
  }
  for (size_t at = 0; at + sizeof(uint32_t) <= payload.size(); at += sizeof(uint32_t)) {
    uint32_t index = 0;
    std::memcpy(&index, payload.data() + at, sizeof index);
    if (index >= all.size() || all[index].source_rank != options_.rank) continue;
    const PieceRange& pieces = all[index].pieces;
    // What is not computed yet will be sent anyway, and what is in the queue too.
    const int64_t end = pieces.block * options_.shape.block_size + outgoing.plan.FilledTokens(pieces.block);
    if (queued[index] || end > outgoing.sent) continue;
    queued[index] = true;
    queue.push_back(all[index]);
  }
}

void HandoffAgent::TakeEnd(ByteSpan header) {
  Small small;
  if (!ReadSmall(header, {}, &small) || options_.rank != 0) return;
  if (small.rank < 0 || small.rank >= options_.grid.ranks()) return;
  const std::lock_guard lock(mutex_);
  const auto incoming = incoming_.find(small.token);
  // What is not kept will be told again.
  if (incoming == incoming_.end() && tallies_.size() >= kMostTallies) return;
  Tally& tally =
      tallies_.try_emplace(small.token, Tally{.begin = clock_.Now(), .epoch = small.epoch, .ranks = {}})
          .first->second;
  if (tally.epoch != small.epoch || !tally.ranks.insert(small.rank).second) return;
  tally.moved_bytes += small.moved_bytes;
  AddTo(&tally.refused_pieces, small.refused_pieces);
  tally.failed = tally.failed || small.complete == 0;
  if (incoming != incoming_.end()) Settle(incoming->second);
}

// A failure is told at once, a success when all have it.
void HandoffAgent::Settle(const Incoming& incoming) {
  const auto it = tallies_.find(incoming.peer.handoff.token);
  if (it == tallies_.end()) return;
  Tally& tally = it->second;
  if (tally.told || tally.epoch != incoming.peer.handoff.epoch) return;
  if (!tally.failed && static_cast<int>(tally.ranks.size()) < options_.grid.ranks()) return;
  tally.told = true;
  arrivals_.emplace_back(incoming.peer.handoff, KvArrival{.complete = !tally.failed,
                                                          .useful_bytes = incoming.plan.total_bytes(),
                                                          .moved_bytes = tally.moved_bytes,
                                                          .refused_pieces = tally.refused_pieces});
}

void HandoffAgent::EndIncoming(Incoming& incoming, bool complete) {
  incoming.ended = true;
  if (!complete) incoming.receiver->Close();
  TellEnd(incoming);
}

void HandoffAgent::TellEnd(Incoming& incoming) {
  incoming.told = clock_.Now();
  const Small small = {.token = incoming.peer.handoff.token,
                       .epoch = incoming.peer.handoff.epoch,
                       .rank = options_.rank,
                       .complete = incoming.receiver->complete() ? 1U : 0U,
                       .moved_bytes = incoming.moved_bytes,
                       .refused_pieces = incoming.refused_pieces};
  notes_.push_back({options_.addresses[0], HeaderOf(MessageKind::kEnd, small, {}), {}});
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
  const Small small = {
      .token = incoming.peer.handoff.token, .epoch = incoming.peer.handoff.epoch, .rank = options_.rank};
  for (auto& [source, list] : indices) {
    std::vector<std::byte> header = HeaderOf(MessageKind::kResend, small, list);
    notes_.push_back(
        {incoming.peer.addresses[static_cast<size_t>(source)], std::move(header), std::move(list)});
  }
}

void HandoffAgent::LookAtQuiet(Clock::Time now) {
  for (auto& [token, incoming] : incoming_) {
    if (incoming.ended) {
      if (now - incoming.told > options_.patience.tell_again) TellEnd(incoming);
      continue;
    }
    if (!incoming.source_done || now - incoming.quiet_since < options_.patience.ask_after) continue;
    incoming.quiet_since = now;
    if (++incoming.rounds > options_.patience.most_rounds) {
      EndIncoming(incoming, /*complete=*/false);
    } else {
      AskAgain(incoming, incoming.receiver->Missing());
    }
  }
}

void HandoffAgent::Look(Clock::Time now) {
  std::erase_if(peers_, [now](const auto& entry) {
    const Peer& peer = entry.second;
    if (peer.connection == nullptr || !peer.connection->status().ok()) return now >= peer.retry;
    return now - peer.used > kForgetPeer && peer.connection->pending_bytes() == 0;
  });
  const std::lock_guard lock(mutex_);
  std::erase_if(tallies_, [&](const auto& entry) {
    return now - entry.second.begin > kForgetTally && !incoming_.contains(entry.first);
  });
  LookAtQuiet(now);
}

// Null while the peer cannot be reached: what cannot be sent is asked for again.
TransportConnection* HandoffAgent::ConnectionTo(const std::string& address) {
  Peer& peer = peers_[address];
  const Clock::Time now = clock_.Now();
  peer.used = now;
  if (peer.connection != nullptr) {
    if (peer.connection->status().ok()) return peer.connection.get();
    peer.connection.reset();
    peer.retry = now + options_.patience.ask_after;
  }
  if (now < peer.retry) return nullptr;
  peer.retry = now + options_.patience.ask_after;
  absl::StatusOr<std::unique_ptr<TransportConnection>> made = transport_->Connect(address);
  if (made.ok()) peer.connection = *std::move(made);
  return peer.connection.get();
}

bool HandoffAgent::SendNotes() {
  std::deque<Note> notes;
  {
    const std::lock_guard lock(mutex_);
    notes.swap(notes_);
  }
  for (Note& note : notes) {
    TransportConnection* connection = ConnectionTo(note.address);
    if (connection != nullptr) SendTo(*connection, note.header, std::move(note.payload));
  }
  return !notes.empty();
}

// One piece of each handoff to each rank, each time beginning with another, as a connection may have room for
// the first alone.
bool HandoffAgent::SendPieces() {
  std::vector<std::pair<std::shared_ptr<Outgoing>, size_t>> waiting;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [token, outgoing] : outgoing_) {
      for (size_t rank = 0; rank < outgoing->queues.size(); ++rank) {
        if (!outgoing->queues[rank].empty()) waiting.emplace_back(outgoing, rank);
      }
    }
  }
  bool busy = false;
  ++turn_;
  for (size_t i = 0; i < waiting.size(); ++i) {
    const auto& [outgoing, rank] = waiting[(turn_ + i) % waiting.size()];
    busy = SendNext(*outgoing, rank) || busy;
  }
  return busy;
}

bool HandoffAgent::SendNext(Outgoing& outgoing, size_t rank) {
  TransportConnection* connection = ConnectionTo(outgoing.peer.addresses[rank]);
  PieceRange pieces;
  std::vector<int32_t> pages;
  {
    const std::lock_guard lock(mutex_);
    std::deque<BlockTransfer>& queue = outgoing.queues[rank];
    if (connection == nullptr) {
      queue.clear();
      return false;
    }
    pieces = queue.front().pieces;
    const auto bytes = static_cast<size_t>(outgoing.plan.TransferBytes(pieces));
    if (!connection->CanSend(bytes + kPieceHeaderBytes + 1)) return false;
    queue.pop_front();
    pages = outgoing.pages.at({pieces.layer_group, pieces.block});
  }
  std::vector<std::byte> payload;
  payload.reserve(static_cast<size_t>(outgoing.plan.TransferBytes(pieces)));
  {
    const std::lock_guard lock(outgoing.reading);
    if (outgoing.closed) return true;
    for (const auto& span : PayloadSpans(options_.pages, pieces, pages)) {
      payload.insert(payload.end(), span.begin(), span.end());
    }
  }
  const ByteSpan whole(payload);
  const PieceHeader piece = EncodePieceHeader(
      DescribePieces(outgoing.plan, outgoing.peer.handoff, outgoing.hashes, pieces), {&whole, 1});
  std::vector<std::byte> header(1 + piece.size());
  header[0] = static_cast<std::byte>(MessageKind::kPiece);
  std::copy(piece.begin(), piece.end(), header.begin() + 1);
  SendTo(*connection, header, std::move(payload));
  return true;
}

}  // namespace longspan
