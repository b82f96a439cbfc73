// One rank's part in handing off KV: sends the blocks of its sequences to the ranks of other groups, and
// takes in what they send.
//
// A thread of its own uses the transport. Pages are read and written only between the orders that open a
// handoff and the one that closes it; orders come with the steps of the group (kv_order.h), so that no step
// ever meets a page that is still read or written for a handoff. Whatever arrives is proven before it is
// stored (kvstore/block_receiver.h); what does not, or comes damaged, is asked for again some times, and then
// given up: the sequence is computed here instead.
// Threads: orders from one thread at a time, one after the other; the rest as said.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
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

class HandoffAgent {
 public:
  struct Options {
    KvShape shape;
    RankGrid grid;
    int rank = 0;
    KvPages pages;                       // that the host can read and write
    std::vector<std::string> addresses;  // [ranks] of this group, the transport's own among them
  };
  // Rank 0: called on the agent's thread, once for each handoff that is not closed before.
  using OnArrival = std::function<void(const HandoffId& handoff, const KvArrival& arrival)>;

  // The clock outlives it.
  HandoffAgent(std::unique_ptr<Transport> transport, Options options, const Clock& clock);
  ~HandoffAgent();

  // Before the first order.
  void SetOnArrival(OnArrival on_arrival);

  // Orders. `pages`: the slot's blocks that this rank has.
  void Receive(const KvOrder& order, BlockPages pages);
  void Send(const KvOrder& order);
  // KV of the positions before `computed` is in the pages; `pages` has the blocks that were not told before.
  void Computed(const HandoffId& handoff, int64_t computed, BlockPages pages);
  void SourceDone(const HandoffId& handoff);
  void Close(const HandoffId& handoff);

 private:
  struct Outgoing {
    HandoffPlan plan;
    KvPeer peer;
    std::vector<BlockHash> hashes;
    BlockPages pages;
    int64_t sent = 0;                 // positions
    std::deque<BlockTransfer> queue;  // to be sent
  };
  struct Incoming {
    HandoffPlan plan;
    KvPeer peer;
    std::shared_ptr<BlockReceiver> receiver;
    bool source_done = false;
    int rounds = 0;  // of asking again
    Clock::Time quiet_since, told;
    int64_t moved_bytes = 0, refused_pieces = 0;
    bool ended = false;  // complete or given up
  };
  // Of rank 0.
  struct Tally {
    Clock::Time begin;
    std::set<int> ranks;
    KvArrival sum;
  };
  struct Note {  // a message of a few bytes
    std::string address;
    std::vector<std::byte> header, payload;
  };

  void Run();
  void Take(const ReceivedMessage& message);
  void TakePiece(ByteSpan header, ByteSpan payload);
  void TakeResend(ByteSpan header, ByteSpan payload);
  void TakeEnd(ByteSpan header);
  bool SendSome();
  TransportConnection* ConnectionTo(const std::string& address);
  // With the mutex held.
  void AskAgain(const Incoming& incoming, const std::vector<BlockTransfer>& missing);
  void EndIncoming(Incoming& incoming, bool complete);
  void TellEnd(Incoming& incoming);
  void LookAtQuiet(Clock::Time now);

  const Options options_;
  const Clock& clock_;
  OnArrival on_arrival_;
  BlockInbox inbox_;

  std::mutex mutex_;  // of the following; held while a payload is read from the pages
  std::map<HandoffToken, Outgoing> outgoing_;
  std::map<HandoffToken, Incoming> incoming_;
  std::map<HandoffToken, Tally> tallies_;
  std::deque<Note> notes_;
  std::deque<std::pair<HandoffId, KvArrival>> arrivals_;  // to be told
  bool ending_ = false;

  // Of the thread.
  std::unique_ptr<Transport> transport_;
  std::map<std::string, std::unique_ptr<TransportConnection>> connections_;
  std::thread thread_;
};

}  // namespace longspan
