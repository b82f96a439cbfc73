#include "runtime/grammar/json_schema.h"

#include <algorithm>
#include <array>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "kernels/status_macros.h"
#include "runtime/grammar/completions.h"
#include "runtime/grammar/json_number.h"
#include "runtime/grammar/json_rules.h"
#include "runtime/grammar/matcher.h"
#include "runtime/grammar/pattern.h"

namespace longspan {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kMostNested = 64;                         // schemas in schemas
constexpr int kMostNestedJson = 256;                    // objects and lists of the schema's own text
constexpr int kMostRequired = Matcher::kMostDepth / 2;  // leaves room for what a schema is made part of
constexpr int64_t kMostCount = 100'000;
constexpr int64_t kMostDivisor = 1000;

// Keywords that do not restrict the text.
constexpr std::array<std::string_view, 14> kAnnotations = {
    "$comment",    "$defs",   "$id",      "$schema",  "default", "definitions", "deprecated",
    "description", "example", "examples", "readOnly", "title",   "writeOnly",   "$anchor"};

struct TypeKeywords {
  std::string_view type;
  std::vector<std::string_view> keywords;
};
const std::array<TypeKeywords, 7> kTypes = {{
    {"object", {"properties", "required", "additionalProperties"}},
    {"array", {"items", "prefixItems", "minItems", "maxItems", "uniqueItems"}},
    {"string", {"minLength", "maxLength", "pattern", "format"}},
    {"number", {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}},
    {"integer", {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}},
    {"boolean", {}},
    {"null", {}},
}};

template <typename... Parts>
absl::Status Invalid(const std::string& path, const Parts&... parts) {
  return absl::InvalidArgumentError(absl::StrCat(path, ": ", parts...));
}

std::string Dump(const Json& json) {
  return json.dump(-1, ' ', /*ensure_ascii=*/false, Json::error_handler_t::replace);
}
std::string Shortened(const Json& json) {
  constexpr size_t kMostShown = 40;
  const std::string text = json.is_structured() ? json.type_name() : Dump(json);
  return text.size() > kMostShown ? text.substr(0, kMostShown) + "…" : text;
}

bool IsDeeperThan(const Json& json, int depth) {
  if (!json.is_structured()) return false;
  return depth == 0 || std::any_of(json.begin(), json.end(),
                                   [&](const Json& part) { return IsDeeperThan(part, depth - 1); });
}

bool HasType(const Json& value, std::string_view type) {
  if (type == "object") return value.is_object();
  if (type == "array") return value.is_array();
  if (type == "string") return value.is_string();
  if (type == "boolean") return value.is_boolean();
  if (type == "null") return value.is_null();
  if (type == "number") return value.is_number();
  return value.is_number_integer() ||
         (value.is_number() &&
          ParseDecimal(Dump(value)).fraction.find_first_not_of('0') == std::string::npos);
}

class SchemaCompiler {
 public:
  explicit SchemaCompiler(const Json& root) : root_(root) {}

  absl::StatusOr<Automaton> Compile() {
    if (IsDeeperThan(root_, kMostNestedJson)) {
      return Invalid("schema", "its JSON is nested more than ", kMostNestedJson, " deep");
    }
    LONGSPAN_ASSIGN_OR_RETURN(const StateId start, RuleOfReference("#", "schema"));
    while (!pending_.empty()) {
      const Reference reference = pending_.back();
      pending_.pop_back();
      LONGSPAN_RETURN_IF_ERROR(Add(*reference.schema, reference.path, 0, reference.start, reference.end));
    }
    absl::StatusOr<Automaton> automaton = builder_.Build(start);
    if (!automaton.ok()) return Invalid("schema", std::string(automaton.status().message()));
    const Completions completions(*automaton, nullptr);
    if (!completions.exists(start)) return Invalid("schema", "no text satisfies it");
    if (completions.depth(start) > kMostRequired) {
      return Invalid("schema", "what it requires is nested more than ", kMostRequired, " deep");
    }
    return automaton;
  }

 private:
  struct Reference {
    const Json* schema;
    std::string path;
    StateId start, end;
  };

  // Adds the values of a schema. `path` names it in errors.
  absl::Status Add(const Json& schema, const std::string& path, int nested, StateId from, StateId to) {
    if (builder_.too_large()) return absl::OkStatus();  // Build says so
    if (nested > kMostNested) return Invalid(path, "schemas are nested more than ", kMostNested, " deep");
    if (schema.is_boolean()) {
      if (schema.get<bool>()) builder_.AddCall(from, rules_.Value(), to);
      return absl::OkStatus();
    }
    if (!schema.is_object()) return Invalid(path, "is ", Shortened(schema), "; a schema is an object");
    if (schema.contains("$ref")) return AddReference(schema, path, from, to);
    if (schema.contains("anyOf")) return AddAnyOf(schema, path, nested, from, to);
    if (schema.contains("allOf")) return AddAllOf(schema, path, nested, from, to);
    if (schema.contains("enum") || schema.contains("const")) return AddValues(schema, path, from, to);

    LONGSPAN_ASSIGN_OR_RETURN(const std::vector<std::string> types, Types(schema, path));
    std::vector<std::string_view> supported = {"type"};
    for (const auto& [type, keywords] : kTypes) {
      if (std::find(types.begin(), types.end(), type) == types.end()) continue;
      supported.insert(supported.end(), keywords.begin(), keywords.end());
    }
    LONGSPAN_RETURN_IF_ERROR(CheckKeywords(schema, path, supported));
    if (types.empty()) builder_.AddCall(from, rules_.Value(), to);
    for (const std::string& type : types) {
      LONGSPAN_RETURN_IF_ERROR(AddType(type, schema, path, nested, from, to));
    }
    return absl::OkStatus();
  }

  absl::Status AddType(std::string_view type, const Json& schema, const std::string& path, int nested,
                       StateId from, StateId to) {
    if (type == "object") return AddObject(schema, path, nested, from, to);
    if (type == "array") return AddArray(schema, path, nested, from, to);
    if (type == "string") return AddString(schema, path, from, to);
    if (type == "number" || type == "integer") return AddNumber(type == "integer", schema, path, from, to);
    if (type == "null") builder_.AddText(from, "null", to);
    if (type == "boolean") builder_.AddTexts(from, {"true", "false"}, to);
    return absl::OkStatus();
  }

  static absl::Status CheckKeywords(const Json& schema, const std::string& path,
                                    std::span<const std::string_view> supported) {
    for (const auto& [keyword, value] : schema.items()) {
      const auto is_keyword = [&keyword = keyword](std::string_view known) { return known == keyword; };
      if (std::any_of(kAnnotations.begin(), kAnnotations.end(), is_keyword)) continue;
      if (std::any_of(supported.begin(), supported.end(), is_keyword)) continue;
      const bool known = std::any_of(kTypes.begin(), kTypes.end(), [&](const TypeKeywords& type) {
        return std::any_of(type.keywords.begin(), type.keywords.end(), is_keyword);
      });
      if (known || keyword == "type") {
        return Invalid(
            path, "\"", keyword, "\" is not supported beside ",
            supported[0] == "type" ? "this \"type\"" : absl::StrCat("\"", std::string(supported[0]), "\""));
      }
      return Invalid(path, "\"", keyword, "\" is not supported",
                     keyword == "oneOf" ? "; where its schemas exclude each other use \"anyOf\"" : "");
    }
    return absl::OkStatus();
  }

  // Those that "type" names, else those that other keywords are about; none means any value.
  static absl::StatusOr<std::vector<std::string>> Types(const Json& schema, const std::string& path) {
    std::vector<std::string> types;
    if (const auto type = schema.find("type"); type != schema.end()) {
      const Json list = type->is_array() ? *type : Json::array({*type});
      for (const Json& name : list) {
        const auto known = std::find_if(kTypes.begin(), kTypes.end(), [&](const TypeKeywords& t) {
          return name.is_string() && name.get_ref<const std::string&>() == t.type;
        });
        if (known == kTypes.end()) {
          return Invalid(path, "\"type\" is ", Shortened(name),
                         "; it is object, array, string, number, integer, boolean, null, or a list of these");
        }
        const bool is_number =
            known->type == "integer" && std::find(list.begin(), list.end(), "number") != list.end();
        if (!is_number) types.emplace_back(known->type);
      }
      if (types.empty()) return Invalid(path, "\"type\" is an empty list");
      return types;
    }
    for (const auto& [type, keywords] : kTypes) {
      if (type == "integer") continue;
      const bool meant = std::any_of(keywords.begin(), keywords.end(),
                                     [&](std::string_view keyword) { return schema.contains(keyword); });
      if (meant) types.emplace_back(type);
    }
    return types;
  }

  absl::Status AddReference(const Json& schema, const std::string& path, StateId from, StateId to) {
    LONGSPAN_RETURN_IF_ERROR(CheckKeywords(schema, path, std::array<std::string_view, 1>{"$ref"}));
    const Json& reference = schema["$ref"];
    if (!reference.is_string())
      return Invalid(path, "\"$ref\" is ", Shortened(reference), "; it is a string");
    LONGSPAN_ASSIGN_OR_RETURN(const StateId rule, RuleOfReference(reference.get<std::string>(), path));
    builder_.AddCall(from, rule, to);
    return absl::OkStatus();
  }

  // A JSON pointer (RFC 6901) after '#'.
  absl::StatusOr<StateId> RuleOfReference(const std::string& reference, const std::string& path) {
    if (const auto known = references_.find(reference); known != references_.end()) return known->second;
    const auto fails = [&] {
      return Invalid(path, "\"$ref\" is \"", reference,
                     "\", and no such schema is in this one; write it as \"#/$defs/NAME\"");
    };
    const Json* schema = &root_;
    std::string schema_path = "schema";
    std::string_view rest = reference;
    if (!rest.starts_with('#')) return fails();
    rest.remove_prefix(1);
    while (!rest.empty()) {
      if (rest[0] != '/') return fails();
      const size_t end = std::min(rest.find('/', 1), rest.size());
      const std::string name =
          absl::StrReplaceAll(std::string(rest.substr(1, end - 1)), {{"~1", "/"}, {"~0", "~"}});
      rest.remove_prefix(end);
      size_t index = 0;
      if (schema->is_object() && schema->contains(name)) {
        schema = &(*schema)[name];
      } else if (schema->is_array() && absl::SimpleAtoi(name, &index) && index < schema->size()) {
        schema = &(*schema)[index];
      } else {
        return fails();
      }
      absl::StrAppend(&schema_path, ".", name);
    }
    const StateId start = builder_.AddState();
    const StateId end = builder_.AddState();
    builder_.Accept(end);
    references_.emplace(reference, start);
    pending_.push_back({schema, schema_path, start, end});
    return start;
  }

  absl::Status AddAnyOf(const Json& schema, const std::string& path, int nested, StateId from, StateId to) {
    LONGSPAN_RETURN_IF_ERROR(CheckKeywords(schema, path, std::array<std::string_view, 1>{"anyOf"}));
    const Json& schemas = schema["anyOf"];
    if (!schemas.is_array() || schemas.empty()) return Invalid(path, "\"anyOf\" is not a list of schemas");
    for (size_t i = 0; i < schemas.size(); ++i) {
      LONGSPAN_RETURN_IF_ERROR(Add(schemas[i], absl::StrCat(path, ".anyOf[", i, "]"), nested + 1, from, to));
    }
    return absl::OkStatus();
  }

  absl::Status AddAllOf(const Json& schema, const std::string& path, int nested, StateId from, StateId to) {
    LONGSPAN_RETURN_IF_ERROR(CheckKeywords(schema, path, std::array<std::string_view, 1>{"allOf"}));
    const Json& schemas = schema["allOf"];
    if (!schemas.is_array() || schemas.size() != 1) {
      return Invalid(path, "\"allOf\" is supported with one schema only");
    }
    return Add(schemas[0], path + ".allOf[0]", nested + 1, from, to);
  }

  absl::Status AddValues(const Json& schema, const std::string& path, StateId from, StateId to) {
    const bool is_enum = schema.contains("enum");
    LONGSPAN_RETURN_IF_ERROR(CheckKeywords(
        schema, path, std::array<std::string_view, 3>{is_enum ? "enum" : "const", "const", "type"}));
    const Json values = is_enum ? schema["enum"] : Json::array({schema["const"]});
    if (!values.is_array() || values.empty()) return Invalid(path, "\"enum\" is not a list of values");
    std::vector<std::string> types;
    if (schema.contains("type")) {
      LONGSPAN_ASSIGN_OR_RETURN(types, Types(schema, path));
    }
    std::vector<std::string> texts;
    for (const Json& value : values) {
      const bool has_type =
          types.empty() || std::any_of(types.begin(), types.end(),
                                       [&](const std::string& type) { return HasType(value, type); });
      if (has_type && (!schema.contains("const") || value == schema["const"])) texts.push_back(Dump(value));
    }
    if (texts.empty())
      return Invalid(path, "no value of \"", is_enum ? "enum" : "const", "\" satisfies the rest");
    builder_.AddTexts(from, std::move(texts), to);
    return absl::OkStatus();
  }

  // A whole number that is not negative.
  static absl::StatusOr<std::optional<int64_t>> Count(const Json& schema, std::string_view keyword,
                                                      const std::string& path) {
    const auto found = schema.find(keyword);
    if (found == schema.end()) return std::nullopt;
    if (found->is_number() && HasType(*found, "integer")) {
      const double value = found->get<double>();
      if (value >= 0 && value <= static_cast<double>(kMostCount)) return static_cast<int64_t>(value);
    }
    return Invalid(path, "\"", std::string(keyword), "\" is ", Shortened(*found),
                   "; a whole number from 0 to ", kMostCount, " is supported");
  }

  absl::Status AddString(const Json& schema, const std::string& path, StateId from, StateId to) {
    LONGSPAN_ASSIGN_OR_RETURN(const std::optional<int64_t> least, Count(schema, "minLength", path));
    LONGSPAN_ASSIGN_OR_RETURN(const std::optional<int64_t> most, Count(schema, "maxLength", path));
    const bool has_pattern = schema.contains("pattern");
    const bool has_format = schema.contains("format");
    if (!has_pattern && !has_format) {
      builder_.AddCall(from, rules_.StringOfLength(least.value_or(0), most), to);
      return absl::OkStatus();
    }
    const std::string keyword = has_pattern ? "pattern" : "format";
    if (least || most || (has_pattern && has_format)) {
      return Invalid(path, "\"", keyword, "\" is not supported beside ",
                     has_format && has_pattern ? "\"format\"" : "\"minLength\" and \"maxLength\"");
    }
    const Json& value = schema[keyword];
    if (!value.is_string())
      return Invalid(path, "\"", keyword, "\" is ", Shortened(value), "; it is a string");
    const std::string text = value.get<std::string>();
    const std::string_view pattern = has_pattern ? std::string_view(text) : PatternOfFormat(text);
    if (has_format && pattern.empty()) {
      return Invalid(
          path, "\"format\" is \"", text,
          "\"; date, date-time, duration, email, hostname, ipv4, ipv6, time, uri and uuid are supported");
    }
    absl::Status status;
    const StateId rule =
        rules_.Rule(absl::StrCat("pattern ", std::string(pattern)), [&](StateId start, StateId end) {
          status = AddPattern(pattern, start, end, &builder_, &pattern_work_left_);
        });
    if (!status.ok()) {
      return Invalid(path, "\"pattern\" is \"", text, "\": ", std::string(status.message()));
    }
    builder_.AddCall(from, rule, to);
    return absl::OkStatus();
  }

  absl::Status AddNumber(bool integer, const Json& schema, const std::string& path, StateId from,
                         StateId to) {
    NumberLimits limits;
    limits.integer = integer;
    std::string key = integer ? "integer" : "number";
    const auto read_bound = [&](std::string_view keyword, bool exclusive, bool is_least) -> absl::Status {
      const auto found = schema.find(keyword);
      if (found == schema.end()) return absl::OkStatus();
      if (!found->is_number()) {
        return Invalid(path, "\"", std::string(keyword), "\" is ", Shortened(*found), "; it is a number");
      }
      const std::string text = Dump(*found);
      const NumberBound bound{ParseDecimal(text), exclusive};
      if (bound.value.negative != is_least && bound.value.whole.size() > kMostNumberDigits) {
        return Invalid(path, "\"", std::string(keyword), "\" is ", text, "; numbers have ", kMostNumberDigits,
                       " digits at most");
      }
      std::optional<NumberBound>& limit = is_least ? limits.least : limits.most;
      if (limit) {
        return Invalid(path, "\"", std::string(keyword), "\" is not supported beside \"",
                       is_least ? "minimum" : "maximum", "\"");
      }
      limit = bound;
      absl::StrAppend(&key, " ", std::string(keyword), text);
      return absl::OkStatus();
    };
    LONGSPAN_RETURN_IF_ERROR(read_bound("minimum", false, true));
    LONGSPAN_RETURN_IF_ERROR(read_bound("exclusiveMinimum", true, true));
    LONGSPAN_RETURN_IF_ERROR(read_bound("maximum", false, false));
    LONGSPAN_RETURN_IF_ERROR(read_bound("exclusiveMaximum", true, false));
    if (const auto divisor = schema.find("multipleOf"); divisor != schema.end()) {
      const double value = divisor->is_number() ? divisor->get<double>() : 0;
      limits.multiple_of = value >= 1 && value <= kMostDivisor ? static_cast<int64_t>(value) : 0;
      if (static_cast<double>(limits.multiple_of) != value || value == 0) {
        return Invalid(path, "\"multipleOf\" is ", Shortened(*divisor), "; a whole number from 1 to ",
                       kMostDivisor, " is supported");
      }
      limits.integer = true;
      absl::StrAppend(&key, " multipleOf", limits.multiple_of);
    }
    builder_.AddCall(
        from,
        rules_.Rule(key, [&](StateId start, StateId end) { AddJsonNumber(limits, start, end, &builder_); }),
        to);
    return absl::OkStatus();
  }

  struct Member {
    std::string name;
    const Json* schema;
    bool required = false;
  };

  // In the order of "properties", as OpenAI's models write them.
  static absl::StatusOr<std::vector<Member>> Members(const Json& schema, const std::string& path) {
    static const Json kAnything = true;
    std::vector<Member> members;
    if (const auto properties = schema.find("properties"); properties != schema.end()) {
      if (!properties->is_object()) return Invalid(path, "\"properties\" is not an object");
      for (const auto& [name, property] : properties->items()) members.push_back({name, &property});
    }
    const auto required = schema.find("required");
    if (required == schema.end()) return members;
    if (!required->is_array()) return Invalid(path, "\"required\" is not a list of names");
    std::map<std::string, size_t> by_name;
    for (size_t i = 0; i < members.size(); ++i) by_name.emplace(members[i].name, i);
    const auto additional = schema.find("additionalProperties");
    for (const Json& entry : *required) {
      if (!entry.is_string())
        return Invalid(path, "\"required\" has ", Shortened(entry), "; it is a list of names");
      const auto name = entry.get<std::string>();
      const auto [found, is_new] = by_name.try_emplace(name, members.size());
      if (is_new) {
        if (additional != schema.end() && *additional == false) {
          return Invalid(path, "\"required\" has \"", name, "\", which \"properties\" lacks");
        }
        members.push_back({name, additional != schema.end() ? &*additional : &kAnything});
      }
      members[found->second].required = true;
    }
    return members;
  }

  absl::Status AddObject(const Json& schema, const std::string& path, int nested, StateId from, StateId to) {
    LONGSPAN_ASSIGN_OR_RETURN(const std::vector<Member> members, Members(schema, path));
    size_t required_end = 0;  // after the last required member
    for (size_t i = 0; i < members.size(); ++i) {
      if (members[i].required) required_end = i + 1;
    }
    // names[i]: where the name of member i, or of one after it, comes next. The last: any other name.
    std::vector<StateId> names(members.size() + 1);
    for (StateId& state : names) state = builder_.AddState();
    const StateId open = builder_.AddState();
    builder_.AddText(from, "{", open);
    builder_.AddEmpty(open, names[0]);
    if (required_end == 0) builder_.AddText(open, "}", to);
    const auto add_value = [&](StateId colon, const Json& value, const std::string& name,
                               size_t next) -> absl::Status {
      const StateId begin = builder_.AddState(), end = builder_.AddState();
      rules_.AddSeparator(colon, ':', begin);
      LONGSPAN_RETURN_IF_ERROR(Add(value, absl::StrCat(path, name), nested + 1, begin, end));
      rules_.AddSeparator(end, ',', names[next]);
      if (next >= required_end) builder_.AddText(end, "}", to);
      return absl::OkStatus();
    };
    for (size_t i = 0; i < members.size(); ++i) {
      const StateId colon = builder_.AddState();
      builder_.AddText(names[i], QuotedJson(members[i].name), colon);
      if (!members[i].required) builder_.AddEmpty(names[i], names[i + 1]);
      LONGSPAN_RETURN_IF_ERROR(add_value(colon, *members[i].schema, ".properties." + members[i].name, i + 1));
    }
    // Without the keyword other members may come only where the schema names none.
    const auto additional = schema.find("additionalProperties");
    const Json others = additional != schema.end() ? *additional : Json(members.empty());
    if (others == false) return absl::OkStatus();
    std::vector<std::string> taken;
    for (const Member& member : members) taken.push_back(member.name);
    const StateId colon = builder_.AddState();
    builder_.AddCall(names.back(), taken.empty() ? rules_.String() : rules_.StringBut(std::move(taken)),
                     colon);
    return add_value(colon, others, ".additionalProperties", members.size());
  }

  absl::Status AddArray(const Json& schema, const std::string& path, int nested, StateId from, StateId to) {
    LONGSPAN_ASSIGN_OR_RETURN(const std::optional<int64_t> least_items, Count(schema, "minItems", path));
    LONGSPAN_ASSIGN_OR_RETURN(std::optional<int64_t> most, Count(schema, "maxItems", path));
    if (schema.contains("uniqueItems") && schema["uniqueItems"] != false) {
      return Invalid(path, "\"uniqueItems\" is not supported");
    }
    const Json first = schema.value("prefixItems", Json::array());
    const Json rest = schema.value("items", Json(true));
    if (!first.is_array()) return Invalid(path, "\"prefixItems\" is not a list of schemas");
    const auto num_first = static_cast<int64_t>(first.size());
    if (rest == false) most = std::min(most.value_or(num_first), num_first);
    const int64_t least = least_items.value_or(0);
    // The last item that has states of its own; with no `most` it repeats.
    const int64_t last = most ? *most - 1 : std::max(num_first, least - 1);
    // Where items need several copies they are a rule.
    std::optional<StateId> rule;
    if (last > num_first) {
      rule = builder_.AddState();
      const StateId end = builder_.AddState();
      builder_.Accept(end);
      LONGSPAN_RETURN_IF_ERROR(Add(rest, path + ".items", nested + 1, *rule, end));
    }
    StateId before = builder_.AddState();
    builder_.AddText(from, "[", before);
    if (least == 0) builder_.AddText(before, "]", to);
    for (int64_t i = 0; i <= last && !builder_.too_large(); ++i) {
      // Apart from the bracket, so that a repeated item does not allow `[1,]`.
      const StateId begin = builder_.AddState(), end = builder_.AddState();
      builder_.AddEmpty(before, begin);
      if (i < num_first) {
        LONGSPAN_RETURN_IF_ERROR(Add(first[static_cast<size_t>(i)],
                                     absl::StrCat(path, ".prefixItems[", i, "]"), nested + 1, begin, end));
      } else if (rule) {
        builder_.AddCall(begin, *rule, end);
      } else {
        LONGSPAN_RETURN_IF_ERROR(Add(rest, path + ".items", nested + 1, begin, end));
      }
      if (i + 1 >= least) builder_.AddText(end, "]", to);
      before = builder_.AddState();
      if (i < last) rules_.AddSeparator(end, ',', before);
      if (i == last && !most) rules_.AddSeparator(end, ',', begin);
    }
    return absl::OkStatus();
  }

  const Json& root_;
  AutomatonBuilder builder_;
  JsonRules rules_{&builder_};
  std::map<std::string, StateId> references_;  // to the starts of their rules
  std::vector<Reference> pending_;             // rules to be filled
  int64_t pattern_work_left_ = 50'000'000;     // of all patterns
};

}  // namespace

absl::StatusOr<Automaton> CompileJsonSchema(const nlohmann::ordered_json& schema) {
  return SchemaCompiler(schema).Compile();
}

}  // namespace longspan
