// Settings that all families have, read from a GGUF file or a Hugging Face folder.
#pragma once

#include <cstdint>
#include <string_view>

#include "absl/status/statusor.h"
#include "runtime/model/families/family.h"
#include "runtime/model/field_reader.h"

namespace longspan {

inline constexpr int64_t kMaxContext = int64_t{1} << 31;  // tokens; far above every model there is

// What holds for every model of a family.
struct FamilyTraits {
  std::string_view name;
  ActivationKind activation = ActivationKind::kSilu;
  bool qkv_bias = false;
  bool qk_norm = false;
  bool post_norms = false;
  bool scaled_embedding = false;  // by the square root of the hidden size
  // The family reads these caps itself; of another family they are refused.
  bool score_cap = false;
  bool logit_cap = false;
  // Added to norm weights of Hugging Face files. GGUF files hold the sum.
  float folder_norm_offset = 0.0f;
};

// What a config.json of the family means where it leaves a setting out; 0: it must be there.
struct FolderDefaults {
  int64_t heads = 0;
  int64_t kv_heads = 0;  // 0: as many as heads
  int64_t head_dim = 0;  // 0: hidden size / heads
  int64_t vocab_size = 0;
  int64_t context = 0;  // tokens
  double norm_epsilon = 0;
  bool tied_embedding = false;
};

// Everything but layer groups and RoPE; query_scale is 1 / sqrt(head_dim). Settings that change what a model
// computes and that Longspan does not know are refused by name. `fields` are the settings of the family.
absl::StatusOr<FamilyModel> ReadGgufSettings(const GgufFile& file, FieldReader& fields,
                                             const FamilyTraits& traits);
absl::StatusOr<FamilyModel> ReadFolderSettings(const FolderConfig& folder, FieldReader& fields,
                                               const FamilyTraits& traits, const FolderDefaults& defaults);

// Whether config.json says null, which is not the same as nothing where a setting has a default.
bool IsNull(const FolderConfig& folder, const char* key);

}  // namespace longspan
