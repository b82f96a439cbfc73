#include "runtime/model/model_files.h"

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string_view>
#include <system_error>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "kernels/status_macros.h"
#include "runtime/model/field_reader.h"
#include "runtime/model/json_file.h"
#include "runtime/model/mapped_file.h"

namespace longspan {
namespace {

using Template = std::optional<std::string>;

bool Exists(const std::string& path) {
  std::error_code error;
  return std::filesystem::exists(path, error);
}

// The member chat_template of a JSON file: a text, or a list of {name, template}.
absl::StatusOr<Template> ReadJsonTemplate(const std::string& path) {
  LONGSPAN_ASSIGN_OR_RETURN(const nlohmann::json object, ReadJsonObject(path));
  const auto found = object.find("chat_template");
  if (found == object.end() || found->is_null()) return Template();
  if (found->is_string()) return Template(found->get<std::string>());
  if (!found->is_array()) {
    return absl::InvalidArgumentError(absl::StrCat(
        path, ": chat_template is neither a text nor a list of them; copy or download the file again"));
  }
  for (const nlohmann::json& item : *found) {
    if (!item.is_object()) continue;
    JsonFieldReader fields(item, path, "chat_template.");
    if (fields.Text("name", "") != "default") continue;
    const std::string text = fields.Text("template", "");
    LONGSPAN_RETURN_IF_ERROR(fields.status());
    return Template(text);
  }
  return Template();
}

absl::StatusOr<Template> ReadFolderTemplate(const std::string& folder) {
  const std::string jinja = folder + "/chat_template.jinja";
  if (Exists(jinja)) {
    LONGSPAN_ASSIGN_OR_RETURN(const std::unique_ptr<MappedFile> file, MappedFile::Open(jinja));
    return Template(std::string(reinterpret_cast<const char*>(file->bytes().data()), file->bytes().size()));
  }
  for (const char* name : {"/tokenizer_config.json", "/chat_template.json"}) {
    if (!Exists(folder + name)) continue;
    LONGSPAN_ASSIGN_OR_RETURN(Template found, ReadJsonTemplate(folder + name));
    if (found.has_value()) return found;
  }
  return Template();
}

absl::StatusOr<Template> ReadGgufTemplate(const GgufFile& file) {
  constexpr std::string_view kKey = "tokenizer.chat_template";
  if (!file.Has(kKey)) return Template();
  LONGSPAN_ASSIGN_OR_RETURN(const std::string_view text, file.String(kKey));
  return Template(std::string(text));
}

}  // namespace

absl::StatusOr<ModelFiles> ModelFiles::Open(const std::string& path) {
  ModelFiles files(path);
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) {
    LONGSPAN_ASSIGN_OR_RETURN(files.chat_template_, ReadFolderTemplate(path));
  } else {
    LONGSPAN_ASSIGN_OR_RETURN(files.gguf_, GgufFile::Open(path));
    LONGSPAN_ASSIGN_OR_RETURN(files.chat_template_, ReadGgufTemplate(*files.gguf_));
  }
  return files;
}

}  // namespace longspan
