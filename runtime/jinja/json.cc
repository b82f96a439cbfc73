#include "runtime/jinja/json.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include <nlohmann/json.hpp>

#include "runtime/tokenizer/utf8.h"

namespace longspan::jinja {
namespace {

using nlohmann::ordered_json;

class Reader {
 public:
  explicit Reader(Meter& meter) : meter_(meter) {}

  Value Read(const ordered_json& json, int depth) {
    if (depth > kMaxNesting)
      Exhausted({"JSON is nested deeper than ", std::to_string(kMaxNesting), " levels"});
    switch (json.type()) {
      case ordered_json::value_t::null:
        return Value();
      case ordered_json::value_t::boolean:
        return json.get<bool>();
      case ordered_json::value_t::number_integer:
        return json.get<int64_t>();
      case ordered_json::value_t::number_unsigned:
        return static_cast<Int>(json.get<uint64_t>());
      case ordered_json::value_t::number_float:
        return json.get<double>();
      case ordered_json::value_t::string:
        return ReadText(json.get_ref<const std::string&>());
      case ordered_json::value_t::array: {
        meter_.ChargeItems(json.size());
        std::vector<Value> items;
        items.reserve(json.size());
        for (const ordered_json& item : json) items.push_back(Read(item, depth + 1));
        return MakeList(std::move(items));
      }
      case ordered_json::value_t::object: {
        DictBuilder dict(&meter_);
        for (const auto& [key, item] : json.items()) dict.Set(ReadText(key), Read(item, depth + 1));
        return dict.Build();
      }
      default:
        Fail({"binary JSON cannot be used in a chat template"});
    }
  }

 private:
  Value ReadText(const std::string& text) {
    meter_.Charge(text.size());
    if (FindInvalidUtf8(text)) Fail({"a text of the conversation is not UTF-8"});
    return text;
  }

  Meter& meter_;
};

class Writer {
 public:
  Writer(Meter& meter, const JsonStyle& style) : meter_(meter), style_(style) {}

  void Write(const Value& value) {
    Int integer = 0;
    if (value.IsNone()) {
      Emit("null");
    } else if (const bool* flag = value.As<bool>()) {
      Emit(*flag ? "true" : "false");
    } else if (value.AsInteger(&integer)) {
      Emit(FormatInt(integer));
    } else if (const double* number = value.As<double>()) {
      Emit(Number(*number));
    } else if (const Text* text = value.AsText()) {
      WriteText(text->text);
    } else if (const Sequence* sequence = value.AsSequence();
               sequence != nullptr && sequence->type <= Sequence::Type::kTuple) {
      WriteAll("[", sequence->items, "]", [this](const Value& item) { Write(item); });
    } else if (const Dict* dict = value.AsDict()) {
      WriteDict(*dict);
    } else {
      Fail({"a value of type ", TypeName(value), " cannot be written as JSON"});
    }
  }
  std::string Take() { return std::move(out_); }

 private:
  void Emit(std::string_view text) {
    meter_.Charge(text.size());
    out_ += text;
  }

  static std::string Number(double number) {
    if (std::isnan(number)) return "NaN";
    if (std::isinf(number)) return number > 0 ? "Infinity" : "-Infinity";
    return FormatFloat(number);
  }

  static std::string Key(const Value& key) {
    Int integer = 0;
    if (const Text* text = key.AsText()) return text->text;
    if (key.IsNone()) return "null";
    if (const bool* flag = key.As<bool>()) return *flag ? "true" : "false";
    if (key.AsInteger(&integer)) return FormatInt(integer);
    if (const double* number = key.As<double>()) return Number(*number);
    Fail({"a ", TypeName(key), " cannot be a key in JSON"});
  }

  void NewLine() {
    if (!style_.indent) return;
    Emit("\n");
    for (int level = 0; level < level_; ++level) Emit(*style_.indent);
  }

  template <typename Items, typename WriteOne>
  void WriteAll(std::string_view open, const Items& items, std::string_view close,
                const WriteOne& write_one) {
    Emit(open);
    if (!items.empty()) {
      ++level_;
      bool first = true;
      for (const auto& item : items) {
        if (!first) Emit(style_.item_separator);
        first = false;
        NewLine();
        write_one(item);
      }
      --level_;
      NewLine();
    }
    Emit(close);
  }

  void WriteDict(const Dict& dict) {
    const auto write_pair = [this](const std::pair<Value, Value>& pair) {
      WriteText(Key(pair.first));
      Emit(style_.key_separator);
      Write(pair.second);
    };
    if (!style_.sort_keys) return WriteAll("{", dict.items, "}", write_pair);
    auto items = dict.items;
    std::stable_sort(items.begin(), items.end(),
                     [this](const auto& a, const auto& b) { return Less(meter_, a.first, b.first); });
    WriteAll("{", items, "}", write_pair);
  }

  void WriteText(std::string_view text) {
    std::string quoted = "\"";
    const auto escape = [&quoted](uint32_t unit) {
      char buffer[16];
      std::snprintf(buffer, sizeof buffer, "\\u%04x", unit);
      quoted += buffer;
    };
    for (size_t at = 0; at < text.size();) {
      const Utf8Step step = DecodeUtf8(text, at);
      const size_t special = std::string_view("\"\\\n\r\t\f\b").find(text[at]);
      if (special != std::string_view::npos) {
        quoted += '\\';
        quoted += "\"\\nrtfb"[special];
      } else if (step.code < 0x20 || (style_.ensure_ascii && step.code == 0x7F)) {
        escape(step.code);
      } else if (style_.ensure_ascii && step.code >= 0x10000) {
        escape(0xD800 + ((step.code - 0x10000) >> 10 & 0x3FFu));
        escape(0xDC00 + ((step.code - 0x10000) & 0x3FFu));
      } else if (style_.ensure_ascii && step.code >= 0x80) {
        escape(step.code);
      } else {
        quoted += text.substr(at, step.length);
      }
      at += step.length;
    }
    Emit(quoted += '"');
  }

  Meter& meter_;
  const JsonStyle& style_;
  std::string out_;
  int level_ = 0;
};

}  // namespace

Value FromJson(Meter& meter, const ordered_json& json) { return Reader(meter).Read(json, 0); }

std::string ToJson(Meter& meter, const Value& value, const JsonStyle& style) {
  Writer writer(meter, style);
  writer.Write(value);
  return writer.Take();
}

}  // namespace longspan::jinja
