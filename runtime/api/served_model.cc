#include "runtime/api/served_model.h"

#include <xxhash.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace longspan {

std::string ServedModel::Fingerprint() const {
  const GroupIdentity identity = coordinator->identity();
  if (identity.numerics.empty()) return {};
  const std::string decides = absl::StrCat(identity.model, " ", identity.tokenizer, " ", identity.numerics);
  return absl::StrFormat("fp_%016x", XXH3_64bits(decides.data(), decides.size()));
}

}  // namespace longspan
