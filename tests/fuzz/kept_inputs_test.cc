// What a fuzz target does with the inputs kept for it.
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "gtest/gtest.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

TEST(KeptInputsTest, NoneDoesHarm) {
  int inputs = 0;
  for (const auto& entry : std::filesystem::directory_iterator(LONGSPAN_CORPUS)) {
    SCOPED_TRACE(entry.path().filename());
    std::ifstream file(entry.path(), std::ios::binary);
    const std::vector<char> text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(text.data()), text.size());
    ++inputs;
  }
  EXPECT_GT(inputs, 0);
}

}  // namespace
