// Llama 2 and 3 (arXiv 2307.09288, 2407.21783).
#include "kernels/status_macros.h"
#include "runtime/model/families/family.h"
#include "runtime/model/families/layer_kinds.h"
#include "runtime/model/families/rope.h"
#include "runtime/model/families/settings.h"

namespace longspan {
namespace {

constexpr FamilyTraits kTraits = {.name = "llama"};
constexpr double kRopeBase = 10'000.0;

}  // namespace

// llama.cpp's converter makes a Llama of older Mistral models too. It leaves their window out; of another
// tool it would be a window of all layers.
absl::StatusOr<FamilyModel> LlamaFromGguf(const GgufFile& file) {
  GgufFieldReader fields(file, "llama.");
  LONGSPAN_ASSIGN_OR_RETURN(FamilyModel model, ReadGgufSettings(file, fields, kTraits));
  model.interleaved_rope = true;
  model.other_tensors = {kRopeFrequencies};
  model.config.qkv_bias = file.FindTensor("blk.0.attn_q.bias") != nullptr;
  const int64_t window = fields.Integer("attention.sliding_window", 0, INT32_MAX, 0);
  LONGSPAN_RETURN_IF_ERROR(fields.status());
  LONGSPAN_ASSIGN_OR_RETURN(const RopeConfig rope, ReadGgufRope(file, fields, kRopeBase, &model.config));
  GroupLayers(AllAlike(model.config.num_layers, window == 0), window, rope, rope, &model.config);
  return model;
}

absl::StatusOr<FamilyModel> LlamaFromFolder(const FolderConfig& folder) {
  JsonFieldReader fields(folder.config, folder.config_path());
  LONGSPAN_ASSIGN_OR_RETURN(FamilyModel model, ReadFolderSettings(folder, fields, kTraits, {}));
  LONGSPAN_ASSIGN_OR_RETURN(const RopeConfig rope, ReadFolderRope(folder, fields, kRopeBase, &model.config));
  GroupLayers(AllAlike(model.config.num_layers, true), 0, rope, rope, &model.config);
  return model;
}

}  // namespace longspan
