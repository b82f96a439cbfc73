// How ranks of one host exchange data through memory that they share. The same on all ranks.
#pragma once

#include <cstddef>

namespace longspan {

struct SharedMemoryOptions {
  // Of a slot, at most; less with many ranks.
  size_t slot_bytes = size_t{32} << 10;
  // Messages of that many bytes are read from the sender's memory.
  size_t least_direct_bytes = size_t{8} << 10;
};

}  // namespace longspan
