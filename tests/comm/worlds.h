// What the suites run on: ranks that each carry out the same body, with an implementation under test. Each
// binary defines the worlds that it can make.
#pragma once

#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <thread>
#include <vector>

#include "comm/bootstrap.h"
#include "comm/communicator.h"

namespace longspan {

template <typename Peer>
struct World {
  using Body = std::function<void(Peer&)>;

  std::string name;
  // Runs the body once for each rank that this process holds, at the same time, each with a new Peer.
  std::function<void(const Body&)> run;
};

template <typename Peer>
std::ostream& operator<<(std::ostream& out, const World<Peer>& world) {
  return out << world.name;
}

std::vector<World<Communicator>> CommunicatorWorlds();
std::vector<World<Bootstrap>> BootstrapWorlds();

// Each peer on a thread of its own.
template <typename Peer>
void RunOnThreads(const std::vector<std::unique_ptr<Peer>>& peers, const typename World<Peer>::Body& body) {
  std::vector<std::thread> threads;
  for (const std::unique_ptr<Peer>& peer : peers) threads.emplace_back([&] { body(*peer); });
  for (std::thread& thread : threads) thread.join();
}

}  // namespace longspan
