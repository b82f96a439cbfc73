// How many threads a rank runs when nobody says.
#pragma once

#include <span>
#include <string>

namespace longspan {

// The cores that this process may run on.
struct CoreSet {
  std::string mask;  // equal for processes that share the same cores of one host
  int count = 1;
};
CoreSet AvailableCores();

// A rank's share of its cores: `places` tells, for each rank, its host and core mask, and ranks at equal
// places share alike. At least 1.
int ThreadsOfRank(std::span<const std::string> places, int rank, int cores);

}  // namespace longspan
