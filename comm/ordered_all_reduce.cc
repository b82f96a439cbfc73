#include "comm/ordered_all_reduce.h"

#include <algorithm>
#include <utility>

#include "kernels/check.h"
#include "kernels/status_macros.h"

namespace longspan {

absl::StatusOr<std::unique_ptr<OrderedAllReduce>> OrderedAllReduce::Create(Communicator& communicator,
                                                                           Backend& backend,
                                                                           int64_t max_elements) {
  LONGSPAN_CHECK(max_elements >= 0);
  const int64_t size = communicator.size();
  DeviceBuffer parts;
  if (size > 1 && max_elements > 0) {
    const int64_t longest_range = std::max((max_elements + size - 1) / size,
                                           size == 2 ? std::min(max_elements, kMostGatheredElements) : 0);
    LONGSPAN_ASSIGN_OR_RETURN(
        parts, backend.device().Allocate(static_cast<size_t>(size * longest_range) * sizeof(float)));
  }
  return std::unique_ptr<OrderedAllReduce>(
      new OrderedAllReduce(communicator, backend, max_elements, std::move(parts)));
}

OrderedAllReduce::OrderedAllReduce(Communicator& communicator, Backend& backend, int64_t max_elements,
                                   DeviceBuffer parts)
    : communicator_(communicator),
      backend_(backend),
      max_elements_(max_elements),
      parts_(std::move(parts)),
      range_bytes_(static_cast<size_t>(communicator.size())),
      own_bytes_(static_cast<size_t>(communicator.size())) {}

absl::Status OrderedAllReduce::Run(Stream& stream, float* data, int64_t elements) {
  LONGSPAN_CHECK(0 <= elements && elements <= max_elements_);
  const int64_t size = communicator_.size();
  if (size == 1 || elements == 0) return absl::OkStatus();

  float* parts = reinterpret_cast<float*>(parts_.data());
  if (Gathers(elements)) {
    own_bytes_.assign(own_bytes_.size(), static_cast<size_t>(elements) * sizeof(float));
    LONGSPAN_RETURN_IF_ERROR(communicator_.AllGather(data, own_bytes_, parts, stream));
    backend_.SumParts(stream, parts, static_cast<int>(size), elements, data);
    return absl::OkStatus();
  }

  for (int64_t r = 0; r < size; ++r) {
    const int64_t range = elements * (r + 1) / size - elements * r / size;
    range_bytes_[static_cast<size_t>(r)] = static_cast<size_t>(range) * sizeof(float);
  }
  const int64_t own_begin = elements * communicator_.rank() / size;
  const int64_t own_elements = elements * (communicator_.rank() + 1) / size - own_begin;
  own_bytes_.assign(own_bytes_.size(), static_cast<size_t>(own_elements) * sizeof(float));

  LONGSPAN_RETURN_IF_ERROR(communicator_.AllToAll(data, range_bytes_, parts, own_bytes_, stream));
  if (own_elements > 0) {
    backend_.SumParts(stream, parts, static_cast<int>(size), own_elements, data + own_begin);
  }
  return communicator_.AllGather(data + own_begin, range_bytes_, data, stream);
}

}  // namespace longspan
