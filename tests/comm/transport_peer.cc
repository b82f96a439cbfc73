// A process that receives whatever comes, to be stopped or killed by a test. Prints its process id and, in
// hexadecimal, its address; ends when it has been sent a message without a header.
#include <unistd.h>

#include <cstdio>

#include "absl/strings/escaping.h"
#include "comm/ucx_transport.h"

int main() {
  longspan::UcxTransportOptions options;
  options.devices = "lo";
  const auto transport = longspan::CreateUcxTransport(options);
  if (!transport.ok()) return 1;
  std::printf("%d %s\n", getpid(), absl::BytesToHexString((*transport)->address()).c_str());
  std::fflush(stdout);
  bool is_over = false;
  while (!is_over) {
    (*transport)->Progress([&](longspan::ReceivedMessage message) { is_over |= message.header.empty(); });
    if (!is_over && !(*transport)->Wait(std::chrono::seconds(60))) return 1;
  }
  return 0;
}
