// Templates in the language of jinja2, as chat templates of model files use it.
//
// The language is that of jinja2 3.1's documentation, in a sandbox that cannot change values, set up as the
// library transformers sets it up for chat templates: trim_blocks, lstrip_blocks, break and continue,
// generation blocks, tojson without HTML escapes, raise_exception and strftime_now. What is left out is in
// README.md.
#pragma once

#include <ctime>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "absl/status/statusor.h"

namespace longspan::jinja {

struct RenderOptions {
  std::tm now{};                    // local time, for strftime_now
  int64_t work = int64_t{1} << 30;  // about the bytes that may be looked at or made; bounds time and memory
  size_t output_bytes = size_t{64} << 20;  // of the result
};

// Threads: immutable; may be rendered from any thread, by several at a time.
class Template {
 public:
  // Errors name the line: InvalidArgument for what is no template, Unimplemented for what is not supported,
  // ResourceExhausted for what is nested too deep.
  static absl::StatusOr<Template> Parse(std::string_view source);

  Template(Template&&) noexcept;
  Template& operator=(Template&&) noexcept;
  ~Template();

  // `variables` is an object; its members are the template's variables. InvalidArgument when the template
  // fails, with the line, or when it calls raise_exception, then with its message alone; ResourceExhausted
  // beyond the bounds; Unimplemented for a use that is not supported.
  absl::StatusOr<std::string> Render(const nlohmann::ordered_json& variables,
                                     const RenderOptions& options) const;

 private:
  struct Program;
  explicit Template(std::unique_ptr<const Program> program);
  std::unique_ptr<const Program> program_;
};

}  // namespace longspan::jinja
