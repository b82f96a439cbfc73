#include "launcher/rank_threads.h"

#include <sched.h>

#include <algorithm>
#include <thread>

namespace longspan {

CoreSet AvailableCores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0) {
    return {"", std::max(1, static_cast<int>(std::thread::hardware_concurrency()))};
  }
  return {std::string(reinterpret_cast<const char*>(&set), sizeof set), std::max(1, CPU_COUNT(&set))};
}

int ThreadsOfRank(std::span<const std::string> places, int rank, int cores) {
  const auto sharing = std::count(places.begin(), places.end(), places[static_cast<size_t>(rank)]);
  return std::max(1, cores / static_cast<int>(sharing));
}

}  // namespace longspan
