// The golden models; see tests/goldens/README.md.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace longspan::testing {

struct Golden {
  std::string name;
  std::string model_path;
  std::string tokens_path;
  std::string logits_path;

  std::vector<int32_t> Tokens() const;
  std::vector<float> Logits() const;  // [tokens, vocab]
};

std::vector<Golden> AllGoldens();
Golden FindGolden(const std::string& name);

}  // namespace longspan::testing
