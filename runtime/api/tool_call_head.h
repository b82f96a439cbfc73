// The beginning of a tool call that is a JSON object, {"name": …, "arguments": …}, as it arrives character by
// character: which function it names, and where its arguments begin. "parameters" is the same as "arguments".
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/api/json_scanner.h"

namespace longspan {

class ToolCallHead {
 public:
  enum class Step : uint8_t {
    kInside,     // more is needed
    kArguments,  // name() is known, and the arguments begin with this character
    kWhole,      // the object ended with this character; arguments() came before the name, or are "{}"
    kNoCall,     // not a call; the character was not taken
  };

  // `names`: the functions that can be meant, and then nothing but a call's members may be there; null: any.
  // It must outlive this.
  explicit ToolCallHead(const std::vector<std::string>* names) : names_(names) {}

  Step Feed(char c);  // the first one must be "{"

  const std::string& name() const { return name_; }
  const std::string& arguments() const { return arguments_; }

 private:
  enum class Place : uint8_t { kOpen, kBeforeKey, kKey, kColon, kValue };

  bool KeyIsArguments() const { return key_ == "arguments" || key_ == "parameters"; }
  bool AcceptKey() const;
  bool EndValue();
  Step FeedValue(char c);
  Step EndObject();

  const std::vector<std::string>* names_;
  Place place_ = Place::kOpen;
  JsonScanner scanner_;      // of the value
  std::string key_, value_;  // of the member that is being read
  std::string name_, arguments_;
};

}  // namespace longspan
