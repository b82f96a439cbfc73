// A config.json that anybody may have written, given to every family; it is its own generation_config.json
// too.
#include "kernels/check.h"
#include "runtime/model/families/family.h"
#include "runtime/model/families/text_config.h"
#include "runtime/model/json_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  auto json = longspan::ParseJsonObject(text, "config.json");
  if (!json.ok()) return 0;
  longspan::FolderConfig folder{"folder", *json, *json};
  longspan::UseTextConfig(&folder.config);
  for (const longspan::Family& family : longspan::Families()) {
    const absl::StatusOr<longspan::FamilyModel> model = family.from_folder(folder);
    LONGSPAN_CHECK(model.ok() || !model.status().message().empty());
  }
  return 0;
}
