#include "comm/liveness_connection.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <type_traits>

namespace longspan {

static_assert(std::is_trivially_copyable_v<LivenessMessage>);

FileDescriptor::~FileDescriptor() {
  if (number_ >= 0) close(number_);
}

void LivenessMessage::SetText(std::string_view whole) {
  text.fill(0);
  std::copy_n(whole.begin(), std::min(whole.size(), text.size() - 1), text.begin());
}

std::string LivenessMessage::Text() const {
  return std::string(text.data(), strnlen(text.data(), text.size()));
}

LivenessConnection::LivenessConnection(FileDescriptor socket) : socket_(std::move(socket)) {
  const int on = 1;
  if (open()) setsockopt(socket_.number(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

bool LivenessConnection::Send(const LivenessMessage& message) {
  // The system buffers hundreds of messages: one that does not fit whole goes to a peer that has not read for
  // minutes.
  ssize_t sent;
  do {
    sent = send(socket_.number(), &message, sizeof message, MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  return sent == static_cast<ssize_t>(sizeof message);
}

bool LivenessConnection::Receive(std::vector<LivenessMessage>* messages) {
  for (;;) {
    const ssize_t bytes = recv(socket_.number(), part_.data() + part_bytes_, part_.size() - part_bytes_, 0);
    if (bytes < 0 && errno == EINTR) continue;
    if (bytes < 0) return errno == EAGAIN || errno == EWOULDBLOCK;
    if (bytes == 0) return false;
    part_bytes_ += static_cast<size_t>(bytes);
    if (part_bytes_ < part_.size()) continue;
    part_bytes_ = 0;
    LivenessMessage& message = messages->emplace_back();
    std::memcpy(&message, part_.data(), part_.size());
    if (message.magic == LivenessMessage::kMagic) continue;
    messages->pop_back();
    return false;
  }
}

}  // namespace longspan
