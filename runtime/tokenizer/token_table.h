// What each token id shows when it is decoded.
//
// Threads: const methods may be called from any thread. Views stay valid when the table is moved.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace longspan {

class TokenTable {
 public:
  // `num_tokens` tokens that show nothing, with room for `num_bytes` of text.
  TokenTable(int64_t num_tokens, size_t num_bytes) : entries_(num_tokens) { arena_.reserve(num_bytes); }

  // Invalidates views when the text outgrows the room that was asked for.
  void SetBytes(int32_t id, std::string_view bytes);
  // A special token shows nothing, whatever its spelling.
  void SetSpecial(int32_t id);

  int64_t size() const { return static_cast<int64_t>(entries_.size()); }
  bool Has(int32_t id) const { return id >= 0 && id < size(); }

  // All accept any id: one outside the table shows nothing and is not special.
  std::string_view Bytes(int32_t id) const { return IsSpecial(id) ? std::string_view() : Spelling(id); }
  std::string_view Spelling(int32_t id) const;  // what was set, of special tokens as well
  bool IsSpecial(int32_t id) const { return Has(id) && entries_[id].special; }

 private:
  struct Entry {
    uint32_t begin = 0;
    uint32_t length : 31 = 0;
    uint32_t special : 1 = 0;
  };

  std::vector<char> arena_;
  std::vector<Entry> entries_;
};

}  // namespace longspan
