// Mistral 7B and what followed it (arXiv 2310.06825): Llama's layers, all of them with a sliding window or
// none.
#include "kernels/status_macros.h"
#include "runtime/model/families/family.h"
#include "runtime/model/families/layer_kinds.h"
#include "runtime/model/families/rope.h"
#include "runtime/model/families/settings.h"

namespace longspan {
namespace {

constexpr FamilyTraits kTraits = {.name = "mistral"};
constexpr double kRopeBase = 10'000.0;
constexpr int64_t kDefaultWindow = 4096;

}  // namespace

// The converter orders the rows of queries and keys as it does for Llama.
absl::StatusOr<FamilyModel> MistralFromGguf(const GgufFile& file) {
  GgufFieldReader fields(file, "mistral3.");
  LONGSPAN_ASSIGN_OR_RETURN(FamilyModel model, ReadGgufSettings(file, fields, kTraits));
  model.interleaved_rope = true;
  model.other_tensors = {kRopeFrequencies};
  LONGSPAN_ASSIGN_OR_RETURN(const RopeConfig rope, ReadGgufRope(file, fields, kRopeBase, &model.config));
  GroupLayers(AllAlike(model.config.num_layers, true), 0, rope, rope, &model.config);
  return model;
}

absl::StatusOr<FamilyModel> MistralFromFolder(const FolderConfig& folder) {
  JsonFieldReader fields(folder.config, folder.config_path());
  LONGSPAN_ASSIGN_OR_RETURN(FamilyModel model, ReadFolderSettings(folder, fields, kTraits, {}));
  const int64_t window = ReadWindow(folder, fields, kDefaultWindow);
  LONGSPAN_ASSIGN_OR_RETURN(const RopeConfig rope, ReadFolderRope(folder, fields, kRopeBase, &model.config));
  // transformers gives every layer the window and does not read layer_types: where they differ, nobody can
  // tell what is meant.
  const FullLayers is_full = AllAlike(model.config.num_layers, window == 0);
  if (ReadLayerTypes(fields, is_full) != is_full) {
    fields.Refuse("layer_types", "not what sliding_window says", "use a model without layer_types");
  }
  LONGSPAN_RETURN_IF_ERROR(fields.status());
  GroupLayers(is_full, window, rope, rope, &model.config);
  return model;
}

}  // namespace longspan
