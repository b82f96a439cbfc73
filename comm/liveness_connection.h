// What heartbeats are made of: messages of fixed size over a TCP connection. Included by comm/liveness*.cc
// and tests only. Threads: one at a time for each object.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "comm/progress_record.h"

namespace longspan {

class FileDescriptor {
 public:
  explicit FileDescriptor(int number = -1) : number_(number) {}
  FileDescriptor(FileDescriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept {
    std::swap(number_, other.number_);
    return *this;
  }
  ~FileDescriptor();

  int number() const { return number_; }

 private:
  int number_;
};

using LivenessToken = std::array<unsigned char, 16>;

// Everything that ranks of the same program tell each other is one message of fixed size.
struct LivenessMessage {
  enum class Kind : uint32_t {
    kHello,    // the first one, from both ends, with the token
    kBeat,     // with what the rank does
    kFailed,   // to rank 0: this rank cannot go on; with the reason
    kAbort,    // from rank 0: the job is over, say where you are
    kGoodbye,  // nothing more will come
  };
  static constexpr uint64_t kMagic = 0x3176696c6e61706c;

  uint64_t magic = kMagic;
  Kind kind = Kind::kBeat;
  int32_t rank = 0;
  LivenessToken token{};
  Activity activity;
  std::array<char, 400> text{};  // zero-terminated

  void SetText(std::string_view whole);  // as much as fits
  std::string Text() const;
};

// To one peer. Never waits.
class LivenessConnection {
 public:
  explicit LivenessConnection(FileDescriptor socket = FileDescriptor());

  bool open() const { return socket_.number() >= 0; }
  int socket() const { return socket_.number(); }  // for poll; -1 when closed
  void Close() { socket_ = FileDescriptor(); }

  // False when the connection is broken: the peer is gone, or has read nothing for long.
  bool Send(const LivenessMessage& message);
  // Appends what has come. False when nothing more will: closed by the peer, or no messages of ours.
  bool Receive(std::vector<LivenessMessage>* messages);

 private:
  FileDescriptor socket_;
  std::array<char, sizeof(LivenessMessage)> part_{};  // of the message that is coming
  size_t part_bytes_ = 0;
};

}  // namespace longspan
