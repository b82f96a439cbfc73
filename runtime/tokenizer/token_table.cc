#include "runtime/tokenizer/token_table.h"

#include "kernels/check.h"

namespace longspan {

void TokenTable::SetBytes(int32_t id, std::string_view bytes) {
  LONGSPAN_CHECK(Has(id));
  entries_[id].begin = static_cast<uint32_t>(arena_.size());
  entries_[id].length = static_cast<uint32_t>(bytes.size());
  arena_.insert(arena_.end(), bytes.begin(), bytes.end());
}

void TokenTable::SetSpecial(int32_t id) {
  LONGSPAN_CHECK(Has(id));
  entries_[id].special = 1;
}

std::string_view TokenTable::Spelling(int32_t id) const {
  if (!Has(id)) return {};
  return std::string_view(arena_.data() + entries_[id].begin, entries_[id].length);
}

}  // namespace longspan
