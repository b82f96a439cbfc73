// Follows a JSON value that arrives character by character, to know where it ends. It need not be valid.
#pragma once

#include <cstdint>

namespace longspan {

class JsonScanner {
 public:
  enum class Step : uint8_t {
    kInside,  // the character belongs to the value, and more do
    kLast,    // the character is the value's last one
    kBehind,  // the value ended before the character
  };
  enum class Kind : uint8_t { kNothing, kString, kContainer, kScalar };

  Step Feed(char c);

  Kind kind() const { return kind_; }  // kNothing until the first character
  bool in_string() const { return in_string_; }

 private:
  Kind kind_ = Kind::kNothing;
  int64_t depth_ = 0;
  bool in_string_ = false;
  bool escaped_ = false;
};

}  // namespace longspan
