// Ends a text where a stop string begins, also when it arrives in pieces.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace longspan {

class StopText {
 public:
  // Without stop strings everything passes at once. None of them may be empty (CHECK).
  explicit StopText(std::vector<std::string> stops);

  // Takes the next piece and returns what can be shown: what might still become a stop string is held back,
  // and what follows a stop string is dropped.
  std::string Append(std::string_view piece);
  // The text has ended: returns what was held back.
  std::string Finish();

  bool stopped() const { return stopped_; }

 private:
  const std::vector<std::string> stops_;
  std::string held_;
  bool stopped_ = false;
};

}  // namespace longspan
