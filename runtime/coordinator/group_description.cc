#include "runtime/coordinator/group_description.h"

#include <algorithm>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "kernels/check.h"

namespace longspan {

std::string_view Name(GroupRole role) {
  switch (role) {
    case GroupRole::kMixed:
      return "mixed";
    case GroupRole::kPrefill:
      return "prefill";
    case GroupRole::kDecode:
      return "decode";
  }
  LONGSPAN_CHECK(!"a role that does not exist");
  return {};
}

absl::Status GroupIdentity::CheckEqual(const GroupIdentity& other) const {
  const auto differs = [](const char* field, const auto& ours, const auto& theirs) {
    return absl::FailedPreconditionError(absl::StrCat("its ", field, " is ", theirs, ", and here it is ",
                                                      ours,
                                                      ": groups that serve together must have the same"));
  };
  if (protocol != other.protocol) return differs("protocol", protocol, other.protocol);
  if (model != other.model) return differs("model", model, other.model);
  if (tokenizer != other.tokenizer) return differs("tokenizer", tokenizer, other.tokenizer);
  if (numerics != other.numerics) return differs("numerics", numerics, other.numerics);
  return absl::OkStatus();
}

bool HaveEqualDemand(const GroupDescription& a, const GroupDescription& b) {
  return std::tuple(a.geometry.block_size, a.geometry.kvp, a.chunk_tokens, a.prompt_logits_chunk) ==
             std::tuple(b.geometry.block_size, b.geometry.kvp, b.chunk_tokens, b.prompt_logits_chunk) &&
         std::equal(a.geometry.groups.begin(), a.geometry.groups.end(), b.geometry.groups.begin(),
                    b.geometry.groups.end(), [](const KvGroupGeometry& one, const KvGroupGeometry& other) {
                      return one.window == other.window && one.pages_per_block == other.pages_per_block;
                    });
}

}  // namespace longspan
