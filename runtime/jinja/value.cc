#include "runtime/jinja/value.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>

#include "runtime/jinja/builtins.h"
#include "runtime/jinja/text.h"

namespace longspan::jinja {
namespace {

constexpr size_t kIndexedDict = 8;  // items; smaller dicts are searched one by one

int DepthOf(const Value& value) {
  if (const Sequence* sequence = value.AsSequence()) return sequence->depth;
  if (const Dict* dict = value.AsDict()) return dict->depth;
  if (const Iterator* iterator = value.AsIterator()) return iterator->depth;
  if (const Loop* loop = value.AsLoop()) return loop->depth;
  if (const Function* function = value.AsFunction()) return DepthOf(function->self) + 1;
  return 0;
}

int CheckedDepth(int depth) {
  if (depth > kMaxNesting) {
    Exhausted({"a value is nested deeper than ", std::to_string(kMaxNesting), " levels"});
  }
  return depth;
}

bool EqualItems(Meter& meter, const std::vector<Value>& a, const std::vector<Value>& b) {
  if (a.size() != b.size()) return false;
  meter.ChargeItems(a.size());
  return std::equal(a.begin(), a.end(), b.begin(),
                    [&](const Value& x, const Value& y) { return Equal(meter, x, y); });
}

bool EqualDicts(Meter& meter, const Dict& a, const Dict& b) {
  if (a.items.size() != b.items.size()) return false;
  meter.ChargeItems(a.items.size());
  return std::all_of(a.items.begin(), a.items.end(), [&](const auto& item) {
    const Value* other = b.Find(item.first);
    return other != nullptr && Equal(meter, item.second, *other);
  });
}

// Of numbers, as Python compares ints with floats: exactly.
int CompareNumbers(const Value& a, const Value& b) {
  Int x = 0, y = 0;
  if (a.AsInteger(&x) && b.AsInteger(&y)) return x < y ? -1 : x > y;
  const auto p = static_cast<long double>(a.AsInteger(&x) ? static_cast<long double>(x) : AsDouble(a));
  const auto q = static_cast<long double>(b.AsInteger(&y) ? static_cast<long double>(y) : AsDouble(b));
  return p < q ? -1 : p > q ? 1 : p == q ? 0 : 2;  // 2: a NaN
}

class Printer {
 public:
  explicit Printer(Meter& meter) : meter_(meter) {}

  void Represent(const Value& value);
  std::string Take() { return std::move(out_); }

 private:
  void Write(std::string_view text) {
    meter_.Charge(text.size() + 1);
    out_ += text;
  }
  void List(std::string_view open, const std::vector<Value>& items, std::string_view close) {
    Write(open);
    for (size_t i = 0; i < items.size(); ++i) {
      if (i > 0) Write(", ");
      Represent(items[i]);
    }
    Write(close);
  }
  void RepresentSequence(const Sequence& sequence);

  Meter& meter_;
  std::string out_;
};

void Printer::RepresentSequence(const Sequence& sequence) {
  const std::vector<Value>& items = sequence.items;
  switch (sequence.type) {
    case Sequence::Type::kList:
      return List("[", items, "]");
    case Sequence::Type::kTuple:
      return List("(", items, items.size() == 1 ? ",)" : ")");
    case Sequence::Type::kKeys:
      return List("dict_keys([", items, "])");
    case Sequence::Type::kValues:
      return List("dict_values([", items, "])");
    case Sequence::Type::kItems:
      return List("dict_items([", items, "])");
    case Sequence::Type::kRange:
      Fail({"a range cannot be printed: make it a list first"});
  }
}

void Printer::Represent(const Value& value) {
  Int integer = 0;
  if (value.IsNone()) {
    Write("None");
  } else if (value.IsUndefined()) {
    Write("Undefined");
  } else if (const bool* flag = value.As<bool>()) {
    Write(*flag ? "True" : "False");
  } else if (value.AsInteger(&integer)) {
    Write(FormatInt(integer));
  } else if (const double* number = value.As<double>()) {
    Write(FormatFloat(*number));
  } else if (const Text* text = value.AsText()) {
    Write(Quote(text->text));
  } else if (const Sequence* sequence = value.AsSequence()) {
    RepresentSequence(*sequence);
  } else if (const Dict* dict = value.AsDict()) {
    Write("{");
    bool first = true;
    for (const auto& [key, item] : dict->items) {
      if (!first) Write(", ");
      first = false;
      Represent(key);
      Write(": ");
      Represent(item);
    }
    Write("}");
  } else {
    Fail({"a ", TypeName(value), " cannot be printed"});
  }
}

}  // namespace

bool Value::AsInteger(Int* value) const {
  if (const Int* integer = As<Int>()) {
    *value = *integer;
    return true;
  }
  if (const bool* flag = As<bool>()) {
    *value = *flag ? 1 : 0;
    return true;
  }
  return false;
}

const Value* Dict::Find(const Value& key) const {
  if (const Text* text = key.AsText()) return Find(std::string_view(text->text));
  Meter unbounded(int64_t{1} << 62);  // keys are small
  for (const auto& [other, value] : items) {
    if (!other.IsString() && Equal(unbounded, other, key)) return &value;
  }
  return nullptr;
}

const Value* Dict::Find(std::string_view key) const {
  if (!index.empty()) {
    const auto found = index.find(key);
    return found == index.end() ? nullptr : &items[found->second].second;
  }
  for (const auto& [other, value] : items) {
    if (const Text* text = other.AsText(); text != nullptr && text->text == key) return &value;
  }
  return nullptr;
}

const Value* Namespace::Find(std::string_view name) const {
  for (const auto& [other, value] : attributes) {
    if (other == name) return &value;
  }
  return nullptr;
}

void Namespace::Set(std::string_view name, Value value) {
  if (name.starts_with("_")) {
    Fail({"a namespace has no attributes that begin with an underscore: rename '", name, "'"});
  }
  for (auto& [other, old] : attributes) {
    if (other == name) {
      old = std::move(value);
      return;
    }
  }
  attributes.emplace_back(name, std::move(value));
}

void DictBuilder::Set(Value key, Value value) {
  meter_->ChargeItems(4);
  if (const Text* text = key.AsText()) {
    const auto [at, added] = texts_.try_emplace(text->text, items_.size());
    if (!added) {
      items_[at->second].second = std::move(value);
      return;
    }
  } else {
    RequireHashable(key);
    meter_->ChargeItems(items_.size());
    for (auto& [other, old] : items_) {
      if (!other.IsString() && Equal(*meter_, other, key)) {
        old = std::move(value);
        return;
      }
    }
  }
  items_.emplace_back(std::move(key), std::move(value));
}

Value DictBuilder::Build() {
  auto dict = std::make_shared<Dict>();
  dict->items = std::move(items_);
  int depth = 0;
  for (const auto& [key, value] : dict->items) depth = std::max({depth, DepthOf(key), DepthOf(value)});
  dict->depth = CheckedDepth(depth + 1);
  if (dict->items.size() > kIndexedDict) {
    for (size_t i = 0; i < dict->items.size(); ++i) {
      if (const Text* text = dict->items[i].first.AsText()) dict->index.emplace(text->text, i);
    }
  }
  return Value(Value::Data(std::shared_ptr<const Dict>(std::move(dict))));
}

Value MakeUndefined(std::string reason) {
  return Value(Value::Data(Undefined{std::make_shared<const std::string>(std::move(reason))}));
}

int DepthAround(const std::vector<Value>& items) {
  int depth = 0;
  for (const Value& item : items) depth = std::max(depth, DepthOf(item));
  return CheckedDepth(depth + 1);
}

Value MakeSequence(Sequence::Type type, std::vector<Value> items) {
  const int depth = DepthAround(items);
  return Value(Value::Data(std::make_shared<const Sequence>(Sequence{type, std::move(items), depth})));
}

Value MakeIterator(std::vector<Value> items) {
  const int depth = DepthAround(items);
  return Value(Value::Data(std::make_shared<Iterator>(Iterator{std::move(items), 0, depth})));
}

Value MakeLoop(std::vector<Value> items) {
  auto loop = std::make_shared<Loop>();
  loop->depth = DepthAround(items);
  loop->items = std::move(items);
  return Value(Value::Data(std::move(loop)));
}

std::string_view TypeName(const Value& value) {
  if (value.IsNone()) return "NoneType";
  if (value.IsUndefined()) return "Undefined";
  if (value.Is<bool>()) return "bool";
  if (value.Is<Int>()) return "int";
  if (value.Is<double>()) return "float";
  if (value.IsString()) return "str";
  if (const Sequence* sequence = value.AsSequence()) {
    constexpr std::string_view kNames[] = {"list",      "tuple",       "range",
                                           "dict_keys", "dict_values", "dict_items"};
    return kNames[static_cast<size_t>(sequence->type)];
  }
  if (value.AsDict() != nullptr) return "dict";
  if (value.AsIterator() != nullptr) return "generator";
  if (value.AsNamespace() != nullptr) return "Namespace";
  if (value.AsLoop() != nullptr) return "LoopContext";
  if (value.AsMacro() != nullptr) return "Macro";
  return "function";
}

void RequireHashable(const Value& value) {
  const Sequence* sequence = value.AsSequence();
  if (sequence != nullptr && sequence->type == Sequence::Type::kTuple) {
    for (const Value& item : sequence->items) RequireHashable(item);
  } else if (sequence != nullptr || value.AsDict() != nullptr) {
    Fail({"a ", TypeName(value), " cannot be a key of a dict"});
  }
}

bool Truth(const Value& value) {
  Int integer = 0;
  if (value.IsNone() || value.IsUndefined()) return false;
  if (value.AsInteger(&integer)) return integer != 0;
  if (const double* number = value.As<double>()) return *number != 0;
  if (const Text* text = value.AsText()) return !text->text.empty();
  if (const Sequence* sequence = value.AsSequence()) return !sequence->items.empty();
  if (const Dict* dict = value.AsDict()) return !dict->items.empty();
  return true;
}

double AsDouble(const Value& number) {
  Int integer = 0;
  return number.AsInteger(&integer) ? static_cast<double>(integer) : *number.As<double>();
}

bool Equal(Meter& meter, const Value& a, const Value& b) {
  if (a.IsNumber() && b.IsNumber()) return CompareNumbers(a, b) == 0;
  if (const Text* x = a.AsText()) {
    const Text* y = b.AsText();
    if (y == nullptr || x->text.size() != y->text.size()) return false;
    meter.Charge(x->text.size());
    return x->text == y->text;
  }
  if (const Sequence* x = a.AsSequence()) {
    const Sequence* y = b.AsSequence();
    return y != nullptr && x->type == y->type && EqualItems(meter, x->items, y->items);
  }
  if (const Dict* x = a.AsDict()) {
    const Dict* y = b.AsDict();
    return y != nullptr && EqualDicts(meter, *x, *y);
  }
  if (a.IsNone() || a.IsUndefined()) return TypeName(a) == TypeName(b);
  // Other things equal themselves alone.
  if (a.AsIterator() != nullptr) return a.AsIterator() == b.AsIterator();
  if (a.AsNamespace() != nullptr) return a.AsNamespace() == b.AsNamespace();
  if (a.AsLoop() != nullptr) return a.AsLoop() == b.AsLoop();
  if (a.AsMacro() != nullptr) return a.AsMacro() == b.AsMacro();
  return a.AsFunction() != nullptr && a.AsFunction() == b.AsFunction();
}

bool Less(Meter& meter, const Value& a, const Value& b) {
  if (a.IsNumber() && b.IsNumber()) return CompareNumbers(a, b) == -1;
  if (a.IsString() && b.IsString()) {
    // UTF-8 orders as its code points do.
    meter.Charge(std::min(a.AsText()->text.size(), b.AsText()->text.size()));
    return a.AsText()->text < b.AsText()->text;
  }
  const Sequence* x = a.AsSequence();
  const Sequence* y = b.AsSequence();
  if (x != nullptr && y != nullptr && x->type == y->type && x->type <= Sequence::Type::kTuple) {
    for (size_t i = 0; i < std::min(x->items.size(), y->items.size()); ++i) {
      meter.ChargeItems(1);
      if (!Equal(meter, x->items[i], y->items[i])) return Less(meter, x->items[i], y->items[i]);
    }
    return x->items.size() < y->items.size();
  }
  for (const Value* value : {&a, &b}) {
    if (const Undefined* undefined = value->As<Undefined>()) Fail({*undefined->reason});
  }
  Fail({"a ", TypeName(a), " and a ", TypeName(b), " have no order"});
}

std::string FormatInt(Int value) {
  std::string digits;
  const bool negative = value < 0;
  do {
    const int digit = static_cast<int>(value % 10);
    digits.push_back(static_cast<char>('0' + (digit < 0 ? -digit : digit)));
    value /= 10;
  } while (value != 0);
  if (negative) digits.push_back('-');
  std::reverse(digits.begin(), digits.end());
  return digits;
}

std::string FormatFloat(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  char buffer[64];
  const auto print = [&](std::chars_format format) {
    return std::string(buffer, std::to_chars(buffer, buffer + sizeof buffer, value, format).ptr);
  };
  const std::string scientific = print(std::chars_format::scientific);
  const int exponent = std::stoi(scientific.substr(scientific.find('e') + 1));
  if (exponent < -4 || exponent >= 16) return scientific;
  std::string fixed = print(std::chars_format::fixed);
  if (fixed.find('.') == std::string::npos) fixed += ".0";
  return fixed;
}

std::string Print(Meter& meter, const Value& value) {
  if (const Text* text = value.AsText()) {
    meter.Charge(text->text.size());
    return text->text;
  }
  return value.IsUndefined() ? "" : Represent(meter, value);
}

std::string Represent(Meter& meter, const Value& value) {
  Printer printer(meter);
  printer.Represent(value);
  return printer.Take();
}

std::vector<Value> Items(Meter& meter, const Value& value) {
  std::vector<Value> items;
  if (value.IsUndefined()) return items;
  if (const Sequence* sequence = value.AsSequence()) {
    meter.ChargeItems(sequence->items.size());
    return sequence->items;
  }
  if (const Dict* dict = value.AsDict()) {
    meter.ChargeItems(dict->items.size());
    for (const auto& [key, item] : dict->items) items.push_back(key);
    return items;
  }
  if (Iterator* iterator = value.AsIterator()) {
    meter.ChargeItems(iterator->items.size());
    items.assign(iterator->items.begin() + static_cast<ptrdiff_t>(iterator->next), iterator->items.end());
    iterator->next = iterator->items.size();
    return items;
  }
  if (const Text* text = value.AsText()) {
    meter.Charge(text->text.size(), 64);
    for (size_t at = 0; at < text->text.size();) {
      const size_t length = CharacterLength(text->text, at);
      items.emplace_back(text->text.substr(at, length));
      at += length;
    }
    return items;
  }
  Fail({"a ", TypeName(value), " has no items to walk over"});
}

int64_t Length(Meter& meter, const Value& value) {
  if (value.IsUndefined()) return 0;
  if (const Sequence* sequence = value.AsSequence()) return static_cast<int64_t>(sequence->items.size());
  if (const Dict* dict = value.AsDict()) return static_cast<int64_t>(dict->items.size());
  if (const Loop* loop = value.AsLoop()) return static_cast<int64_t>(loop->items.size());
  if (const Text* text = value.AsText()) {
    meter.Charge(text->text.size());
    return static_cast<int64_t>(CountCharacters(text->text));
  }
  return -1;
}

}  // namespace longspan::jinja
