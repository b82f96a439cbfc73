#include "runtime/chat/json_text.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "runtime/tokenizer/utf8.h"

namespace longspan {
namespace {

using nlohmann::ordered_json;

std::string Place(std::string_view text, size_t at) {
  const std::string_view before = text.substr(0, at);
  const auto line = std::count(before.begin(), before.end(), '\n') + 1;
  const size_t line_begin = before.rfind('\n');
  const size_t column = at - (line_begin == std::string_view::npos ? 0 : line_begin + 1) + 1;
  return absl::StrCat("line ", line, ", column ", column);
}

// Hears of the text's values and puts them together. nlohmann's own objects in order look through all members
// for each new one; here large ones have an index.
class Builder final : public nlohmann::json_sax<ordered_json> {
 public:
  explicit Builder(std::string_view text) : text_(text) {}

  const absl::Status& status() const { return status_; }
  ordered_json Take() { return std::move(root_); }

  bool null() override { return Add(nullptr) != nullptr; }
  bool boolean(bool value) override { return Add(value) != nullptr; }
  bool number_integer(int64_t value) override { return Add(value) != nullptr; }
  bool number_unsigned(uint64_t value) override { return Add(value) != nullptr; }
  bool number_float(double value, const std::string&) override { return Add(value) != nullptr; }
  bool string(std::string& value) override { return Add(std::move(value)) != nullptr; }
  bool binary(ordered_json::binary_t&) override { return false; }  // JSON texts have none
  bool start_object(size_t) override { return Open(ordered_json::object()); }
  bool start_array(size_t) override { return Open(ordered_json::array()); }
  bool end_object() override { return Close(); }
  bool end_array() override { return Close(); }
  bool key(std::string& name) override {
    open_.back().key = std::move(name);
    return true;
  }
  bool parse_error(size_t position, const std::string&, const nlohmann::detail::exception&) override {
    return Fail(absl::StrCat("is not valid JSON: ", Place(text_, position == 0 ? 0 : position - 1)));
  }

 private:
  // Objects with fewer members are looked through.
  static constexpr size_t kIndexedFrom = 16;

  struct Container {
    ordered_json* value;
    std::string key;  // of the coming member
    absl::flat_hash_map<std::string, size_t> index;
  };

  bool Fail(const std::string& what) {
    if (status_.ok()) status_ = absl::InvalidArgumentError(what);
    return false;
  }

  // Where the value then is, until its container is added to; null when there are too many.
  ordered_json* Add(ordered_json value) {
    if (++values_ > kMostJsonValues) {
      Fail(absl::StrCat("has more than ", kMostJsonValues, " values; send less at once"));
      return nullptr;
    }
    if (open_.empty()) return &(root_ = std::move(value));
    Container& parent = open_.back();
    if (parent.value->is_array()) return &parent.value->emplace_back(std::move(value));
    ordered_json& slot = Member(&parent);
    slot = std::move(value);
    return &slot;
  }

  ordered_json& Member(Container* parent) {
    auto& members = parent->value->get_ref<ordered_json::object_t&>();
    if (members.size() < kIndexedFrom) return members[parent->key];
    if (parent->index.empty()) {
      for (size_t i = 0; i < members.size(); ++i) parent->index[members.data()[i].first] = i;
    }
    const auto [at, is_new] = parent->index.try_emplace(parent->key, members.size());
    if (is_new) members.emplace_back(std::move(parent->key), nullptr);
    return members.data()[at->second].second;
  }

  bool Open(ordered_json container) {
    if (open_.size() == kMostNestedJson)
      return Fail(absl::StrCat("has objects or lists nested more than ", kMostNestedJson, " deep"));
    ordered_json* const added = Add(std::move(container));
    if (added == nullptr) return false;
    open_.push_back({added, {}, {}});
    return true;
  }

  bool Close() {
    open_.pop_back();
    return true;
  }

  const std::string_view text_;
  absl::Status status_;
  ordered_json root_;
  std::vector<Container> open_;
  int64_t values_ = 0;
};

}  // namespace

absl::StatusOr<ordered_json> ParseJsonText(std::string_view text) {
  if (const std::optional<size_t> at = FindInvalidUtf8(text)) {
    return absl::InvalidArgumentError(absl::StrCat("is not UTF-8: ", Place(text, *at)));
  }
  Builder builder(text);
  const bool parsed = ordered_json::sax_parse(text.begin(), text.end(), &builder);
  if (!builder.status().ok()) return builder.status();
  if (!parsed) return absl::InvalidArgumentError("is not valid JSON");
  return builder.Take();
}

}  // namespace longspan
