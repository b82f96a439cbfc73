// Equality of floats bit by bit: NaNs compare, and the sign of a zero counts.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

namespace longspan {

inline testing::AssertionResult SameBits(const std::vector<float>& a, const std::vector<float>& b) {
  if (a.size() != b.size())
    return testing::AssertionFailure() << a.size() << " and " << b.size() << " values";
  for (size_t i = 0; i < a.size(); ++i) {
    if (std::memcmp(&a[i], &b[i], sizeof(float)) != 0) {
      return testing::AssertionFailure() << "value " << i << " of " << a.size() << " differs: " << a[i]
                                         << " and " << b[i] << ", " << a[i] - b[i] << " apart";
    }
  }
  return testing::AssertionSuccess();
}

}  // namespace longspan
