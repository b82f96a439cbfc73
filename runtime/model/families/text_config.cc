#include "runtime/model/families/text_config.h"

#include <string>
#include <string_view>
#include <utility>

namespace longspan {

bool UseTextConfig(nlohmann::json* config) {
  const auto type = config->find("model_type");
  const auto text = config->find("text_config");
  if (type == config->end() || text == config->end() || !text->is_object()) return false;
  if (*type != "gemma3" && *type != "mistral3") return false;
  nlohmann::json settings = std::move(*text);
  config->erase(text);
  config->update(settings);
  return true;
}

void KeepTextTensors(std::vector<TensorEntry>* tensors) {
  constexpr const char* kImages[] = {"vision_tower.", "multi_modal_projector.", "model.vision_tower.",
                                     "model.multi_modal_projector."};
  // Older files, then newer ones.
  constexpr std::pair<std::string_view, const char*> kText[] = {{"language_model.", ""},
                                                                {"model.language_model.", "model."}};
  std::vector<TensorEntry> kept;
  for (TensorEntry& tensor : *tensors) {
    bool image = false;
    for (const char* prefix : kImages) image = image || tensor.name.starts_with(prefix);
    if (image) continue;
    for (const auto& [prefix, plain] : kText) {
      if (!tensor.name.starts_with(prefix)) continue;
      tensor.name = plain + tensor.name.substr(prefix.size());
      break;
    }
    kept.push_back(std::move(tensor));
  }
  *tensors = std::move(kept);
}

}  // namespace longspan
