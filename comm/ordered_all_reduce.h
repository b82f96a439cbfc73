// Sum over the ranks of a communicator in a fixed order, so that its bits do not depend on how messages
// arrive.
//
// Each element is added over the ranks as a binary tree of neighbours in rank order (Backend::SumParts):
// together with what each rank has added before, that is the tree of kernels/numerics.h. Rank r of N adds the
// elements [elements*r/N, elements*(r+1)/N): an all-to-all brings it the parts, an all-gather returns the
// sums. A rank sends 2 * (N-1)/N * elements * 4 bytes, exactly as the ranges fall. Two ranks that have few
// elements gather them all and both add them: that is one operation, of the same bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "comm/communicator.h"
#include "kernels/backend.h"

namespace longspan {

class OrderedAllReduce {
 public:
  // Up to so many elements two ranks need one operation; beyond it adding everything twice costs more.
  static constexpr int64_t kMostGatheredElements = 16384;

  // Allocates work space on the backend's device for up to `max_elements`. The communicator and the backend
  // must outlive this. Not collective.
  static absl::StatusOr<std::unique_ptr<OrderedAllReduce>> Create(Communicator& communicator,
                                                                  Backend& backend, int64_t max_elements);

  // data: device float32 [elements], replaced by its sum over the ranks. Launches on the stream and returns;
  // called by all ranks with the same number of elements. Errors as for Communicator. One thread, and one
  // stream, at a time.
  absl::Status Run(Stream& stream, float* data, int64_t elements);

 private:
  OrderedAllReduce(Communicator& communicator, Backend& backend, int64_t max_elements, DeviceBuffer parts);

  bool Gathers(int64_t elements) const {
    return communicator_.size() == 2 && elements <= kMostGatheredElements;
  }

  Communicator& communicator_;
  Backend& backend_;
  const int64_t max_elements_;
  const DeviceBuffer parts_;  // float32 [size, elements of the longest range, or all that are gathered]
  std::vector<size_t> range_bytes_;  // by rank; kept, so as not to allocate in each call
  std::vector<size_t> own_bytes_;    // the own range's bytes, once for each rank
};

}  // namespace longspan
