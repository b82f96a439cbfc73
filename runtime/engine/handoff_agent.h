// One rank's part in handing off KV: sends the blocks of its sequences to the ranks of other groups, and
// takes in what they send.
//
// A thread of its own uses the transport. Pages are read and written only between the orders that open a
// handoff and the one that closes it; orders come with the steps of the group (kv_order.h), so that no step
// ever meets a page that is still read or written for a handoff. Whatever arrives is proven before it is
// stored (kvstore/block_receiver.h); what does not, or comes damaged, is asked for again some times, and then
// given up: the sequence is computed here instead. Handoffs take turns, message by message, and none waits
// for a destination that takes nothing.
// Threads: orders from one thread at a time, one after the other; the rest as said.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "comm/clock.h"
#include "comm/transport.h"
#include "kvstore/block_inbox.h"
#include "kvstore/block_transfer.h"
#include "kvstore/kv_pages.h"
#include "runtime/engine/kv_order.h"

namespace longspan {

// Of one rank, [pages of a block], by layer group and block.
using BlockPages = std::map<std::pair<int, int64_t>, std::vector<int32_t>>;

// How long it waits for others.
struct HandoffPatience {
  Clock::Duration look_every = std::chrono::milliseconds(100);
  Clock::Duration ask_after = std::chrono::milliseconds(500);  // no piece, once the source has computed all
  int most_rounds = 5;  // of asking without an answer, before a handoff is given up
  Clock::Duration tell_again = std::chrono::milliseconds(1000);  // that all has arrived, or is given up
};

class HandoffAgent {
 public:
  struct Options {
    KvShape shape;
    RankGrid grid;
    int rank = 0;
    KvPages pages;                       // that the host can read and write
    std::vector<std::string> addresses;  // [ranks] of this group, the transport's own among them
    HandoffPatience patience;
  };
  // Rank 0: called on the agent's thread, once for each handoff that is not closed before.
  using OnArrival = std::function<void(const HandoffId& handoff, const KvArrival& arrival)>;

  // The clock outlives it.
  HandoffAgent(std::unique_ptr<Transport> transport, Options options, const Clock& clock);
  ~HandoffAgent();

  // Before the first order. Any thread may set an empty one later: once it returns, nothing is told any more.
  void SetOnArrival(OnArrival on_arrival);

  // Orders. `pages`: the slot's blocks that this rank has.
  void Receive(const KvOrder& order, BlockPages pages);
  void Send(const KvOrder& order);
  // KV of the positions before `computed` is in the pages; `pages` has the blocks that were not told before.
  void Computed(const HandoffId& handoff, int64_t computed, BlockPages pages);
  void SourceDone(const HandoffId& handoff);
  // Waits for a copy of a message that is under way. After it no page of the slot is read or written.
  void Close(const HandoffId& handoff);

 private:
  struct Outgoing {
    Outgoing(HandoffPlan handoff_plan, const KvOrder& order)
        : plan(std::move(handoff_plan)),
          peer(order.peer),
          hashes(order.hashes),
          queues(static_cast<size_t>(order.peer.grid.ranks())) {}

    const HandoffPlan plan;
    const KvPeer peer;
    const std::vector<BlockHash> hashes;
    // Under the agent's mutex.
    BlockPages pages;
    int64_t sent = 0;                               // positions
    std::vector<std::deque<BlockTransfer>> queues;  // [ranks of the peer], to be sent

    std::mutex reading;   // held while the pages are read
    bool closed = false;  // under `reading`
  };
  struct Incoming {
    HandoffPlan plan;
    KvPeer peer;
    std::shared_ptr<BlockReceiver> receiver;
    bool source_done = false;
    int rounds = 0;            // of asking again
    int refused_in_a_row = 0;  // pieces
    Clock::Time quiet_since, told;
    int64_t moved_bytes = 0;
    PieceRejectionCounts refused_pieces = {};
    bool ended = false;  // complete or given up
  };
  // What the ranks say of their ends, to rank 0; some may before rank 0 itself has begun.
  struct Tally {
    Clock::Time begin;
    uint64_t epoch = 0;
    std::set<int> ranks;
    bool failed = false, told = false;
    int64_t moved_bytes = 0;
    PieceRejectionCounts refused_pieces = {};
  };
  struct Note {  // a message of a few bytes
    std::string address;
    std::vector<std::byte> header, payload;
  };
  struct Peer {
    std::unique_ptr<TransportConnection> connection;  // null: it has failed
    Clock::Time used, retry;
  };
  struct EarlyPiece {
    Clock::Time came;
    ReceivedMessage message;
  };

  void Run();
  void Take(ReceivedMessage message);
  void TakePiece(ReceivedMessage message);
  void TakeResend(ByteSpan header, ByteSpan payload);
  void TakeEnd(ByteSpan header);
  void TakeEarly();
  bool SendNotes();
  bool SendPieces();
  bool SendNext(Outgoing& outgoing, size_t rank);
  TransportConnection* ConnectionTo(const std::string& address);
  void Look(Clock::Time now);
  // With the mutex held.
  void AskAgain(const Incoming& incoming, const std::vector<BlockTransfer>& missing);
  void EndIncoming(Incoming& incoming, bool complete);
  void TellEnd(Incoming& incoming);
  void Settle(const Incoming& incoming);
  void LookAtQuiet(Clock::Time now);

  const Options options_;
  const Clock& clock_;
  BlockInbox inbox_;

  std::mutex arrival_mutex_;  // held while an arrival is told
  OnArrival on_arrival_;

  std::mutex mutex_;  // of the following
  std::map<HandoffToken, std::shared_ptr<Outgoing>> outgoing_;
  std::map<HandoffToken, Incoming> incoming_;
  std::map<HandoffToken, Tally> tallies_;  // of rank 0
  std::deque<Note> notes_;
  std::deque<std::pair<HandoffId, KvArrival>> arrivals_;  // to be told
  bool opened_ = false;                                   // a handoff, since TakeEarly
  bool ending_ = false;

  // Of the thread.
  std::unique_ptr<Transport> transport_;
  std::map<std::string, Peer> peers_;
  // Of handoffs that are not open here yet: rank 0 may have said that the source may send before this rank
  // has got to its step.
  std::deque<EarlyPiece> early_;
  size_t early_bytes_ = 0;
  int64_t strangers_ = 0;  // pieces of no handoff of this rank, since that was told
  std::optional<Clock::Time> strangers_told_;
  size_t turn_ = 0;
  Clock::Time next_look_;
  std::thread thread_;
};

}  // namespace longspan
