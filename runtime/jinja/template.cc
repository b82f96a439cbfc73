#include "runtime/jinja/template.h"

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "runtime/jinja/ast.h"
#include "runtime/jinja/interpreter.h"
#include "runtime/jinja/json.h"
#include "runtime/jinja/parser.h"
#include "runtime/tokenizer/utf8.h"

namespace longspan::jinja {
namespace {

absl::Status ToStatus(const Error& error, int line) {
  if (error.raised) return {error.code, error.message};
  if (error.line > 0) line = error.line;
  if (line == 0) return {error.code, absl::StrCat("chat template: ", error.message)};
  return {error.code, absl::StrCat("chat template, line ", line, ": ", error.message)};
}

}  // namespace

struct Template::Program {
  Block block;
};

Template::Template(std::unique_ptr<const Program> program) : program_(std::move(program)) {}
Template::Template(Template&&) noexcept = default;
Template& Template::operator=(Template&&) noexcept = default;
Template::~Template() = default;

absl::StatusOr<Template> Template::Parse(std::string_view source) {
  if (const std::optional<size_t> invalid = FindInvalidUtf8(source)) {
    return absl::InvalidArgumentError(absl::StrCat("chat template: not UTF-8 at byte ", *invalid));
  }
  try {
    auto program = std::make_unique<Program>();
    program->block = ParseTemplate(source);
    return Template(std::move(program));
  } catch (const Error& error) {
    return ToStatus(error, 0);
  }
}

absl::StatusOr<std::string> Template::Render(const nlohmann::ordered_json& variables,
                                             const RenderOptions& options) const {
  Meter meter(options.work);
  Interpreter interpreter(program_->block, meter, {options.output_bytes, options.now});
  try {
    std::vector<std::pair<std::string, Value>> values;
    for (const auto& [name, value] : variables.items()) values.emplace_back(name, FromJson(meter, value));
    return interpreter.Run(values);
  } catch (const Error& error) {
    return ToStatus(error, interpreter.line());
  }
}

}  // namespace longspan::jinja
