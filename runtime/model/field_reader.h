// Typed, checked access to the settings of a model file.
//
// A reader remembers the first problem and then answers with fallbacks, so that a family lists its settings
// one a line and asks for `status()` once. Errors name the file, the setting, its value and what is allowed.
// Threads: a reader belongs to one thread. Ownership: it refers to the file or JSON object it was made of.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "runtime/model/gguf.h"

namespace longspan {

class FieldReader {
 public:
  virtual ~FieldReader() = default;

  // Whether the file has the setting; a JSON null counts as absent.
  bool Has(std::string_view key) { return !std::holds_alternative<Absent>(Lookup(key)); }

  // An integer from `least` to `most`. Without a fallback an absent one is an error.
  int64_t Integer(std::string_view key, int64_t least, int64_t most);
  int64_t Integer(std::string_view key, int64_t least, int64_t most, int64_t fallback);
  // A number above zero, within what float32 holds.
  double Positive(std::string_view key);
  double Positive(std::string_view key, double fallback);
  // The same, or zero.
  double NotNegative(std::string_view key, double fallback);
  std::string Text(std::string_view key, std::string fallback);
  bool Flag(std::string_view key, bool fallback);
  std::vector<std::string> Texts(std::string_view key);  // empty when absent
  // An integer or an array of them, each from `least` to `most`; empty when absent.
  std::vector<int64_t> Integers(std::string_view key, int64_t least, int64_t most);

  // Records that a setting cannot be right; `problem` begins with a verb.
  void Invalid(std::string_view key, const std::string& problem);
  // Records that a setting has a value which Longspan cannot honour.
  void Refuse(std::string_view key, std::string_view value, std::string_view remedy);

  // The name of a setting in messages, with the file in front.
  std::string Describe(std::string_view key) const;

  const absl::Status& status() const { return status_; }

 protected:
  struct Absent {};
  struct Other {};  // present, of a type that no setting has
  using Value = std::variant<Absent, Other, bool, int64_t, double, std::string, std::vector<int64_t>,
                             std::vector<std::string>>;

  // `prefix` stands before every key in messages.
  FieldReader(std::string origin, std::string prefix)
      : origin_(std::move(origin)), prefix_(std::move(prefix)) {}
  const std::string& prefix() const { return prefix_; }

 private:
  virtual Value Lookup(std::string_view key) const = 0;
  double Number(std::string_view key, double fallback, bool zero_allowed);
  void CheckRange(std::string_view key, int64_t value, int64_t least, int64_t most);

  std::string origin_;
  std::string prefix_;
  absl::Status status_;
};

// The metadata keys that begin with `prefix`, as "llama.".
class GgufFieldReader final : public FieldReader {
 public:
  GgufFieldReader(const GgufFile& file, std::string prefix)
      : FieldReader(file.path(), std::move(prefix)), file_(file) {}

 private:
  Value Lookup(std::string_view key) const override;

  const GgufFile& file_;
};

// The members of a JSON object. `origin` is the file's path; `prefix` is the object's place in it, as
// "rope_scaling.".
class JsonFieldReader final : public FieldReader {
 public:
  JsonFieldReader(const nlohmann::json& object, std::string origin, std::string prefix = "")
      : FieldReader(std::move(origin), std::move(prefix)), object_(object) {}

 private:
  Value Lookup(std::string_view key) const override;

  const nlohmann::json& object_;
};

}  // namespace longspan
