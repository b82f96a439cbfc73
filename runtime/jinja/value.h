// Values of a template, which behave as Python's.
//
// All but namespaces, and the position of an iterator, are immutable: the sandbox of chat templates forbids
// to change lists and dicts. Copies share what they hold. Threads: a value belongs to one rendering.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "runtime/jinja/error.h"

namespace longspan::jinja {

using Int = __int128;  // Python's are unbounded; results that leave this range are errors

struct Text {
  std::string text;  // UTF-8
  bool safe =
      false;  // marked by the filter safe: added to others, it makes them safe by escaping them for HTML
};
struct Undefined {
  std::shared_ptr<const std::string> reason;  // the error of whoever uses it
};
struct None {};
struct Sequence;
struct Dict;
struct Iterator;
struct Namespace;
struct Loop;
struct Macro;
struct Function;

class Value {
 public:
  using Data =
      std::variant<None, Undefined, bool, Int, double, std::shared_ptr<const Text>,
                   std::shared_ptr<const Sequence>, std::shared_ptr<const Dict>, std::shared_ptr<Iterator>,
                   Namespace*, std::shared_ptr<Loop>, const Macro*, std::shared_ptr<const Function>>;

  Value() = default;  // None
  Value(bool value) : data_(value) {}
  Value(Int value) : data_(value) {}
  Value(int64_t value) : data_(Int{value}) {}
  Value(int value) : data_(Int{value}) {}
  Value(size_t value) : data_(static_cast<Int>(value)) {}
  Value(double value) : data_(value) {}
  Value(std::string text, bool safe = false)
      : data_(std::make_shared<const Text>(Text{std::move(text), safe})) {}
  Value(std::string_view text) : Value(std::string(text)) {}
  Value(const char* text) : Value(std::string(text)) {}
  explicit Value(Data data) : data_(std::move(data)) {}

  template <typename T>
  bool Is() const {
    return std::holds_alternative<T>(data_);
  }
  template <typename T>
  const T* As() const {
    return std::get_if<T>(&data_);
  }

  bool IsUndefined() const { return Is<Undefined>(); }
  bool IsNone() const { return Is<None>(); }
  bool IsString() const { return Is<std::shared_ptr<const Text>>(); }
  bool IsNumber() const { return Is<Int>() || Is<double>() || Is<bool>(); }
  // Null, or for Integer nothing, when it is of another type. An integer may be a bool.
  const Text* AsText() const { return Pointer<std::shared_ptr<const Text>>(); }
  const Sequence* AsSequence() const { return Pointer<std::shared_ptr<const Sequence>>(); }
  const Dict* AsDict() const { return Pointer<std::shared_ptr<const Dict>>(); }
  Iterator* AsIterator() const { return Pointer<std::shared_ptr<Iterator>>(); }
  Namespace* AsNamespace() const { return Pointer<Namespace*>(); }
  Loop* AsLoop() const { return Pointer<std::shared_ptr<Loop>>(); }
  const Macro* AsMacro() const { return Pointer<const Macro*>(); }
  const Function* AsFunction() const { return Pointer<std::shared_ptr<const Function>>(); }
  bool AsInteger(Int* value) const;

 private:
  template <typename P>
  auto Pointer() const -> decltype(&*std::declval<P>()) {
    const P* pointer = std::get_if<P>(&data_);
    return pointer == nullptr ? nullptr : &**pointer;
  }

  Data data_;
};

struct Sequence {
  enum class Type : uint8_t { kList, kTuple, kRange, kKeys, kValues, kItems };
  Type type = Type::kList;
  std::vector<Value> items;
  int depth = 1;

  bool has_items() const { return type <= Type::kRange; }  // s[i]; views of a dict have none
};

struct Dict {
  std::vector<std::pair<Value, Value>> items;           // as they were set
  absl::flat_hash_map<std::string_view, size_t> index;  // of text keys, in large dicts
  int depth = 1;

  const Value* Find(const Value& key) const;
  const Value* Find(std::string_view key) const;  // a text
};

// Can be walked once, as a Python generator.
struct Iterator {
  std::vector<Value> items;
  size_t next = 0;
  int depth = 1;
};

struct Namespace {
  std::vector<std::pair<std::string, Value>> attributes;

  const Value* Find(std::string_view name) const;
  void Set(std::string_view name, Value value);
};

// The variable `loop`.
struct Loop {
  std::vector<Value> items;
  size_t index0 = 0;
  int depth = 1;
};

// In the order in which they were set; setting again replaces.
class DictBuilder {
 public:
  explicit DictBuilder(Meter* meter) : meter_(meter) {}
  // Fails for keys that Python cannot hash.
  void Set(Value key, Value value);
  Value Build();

 private:
  Meter* meter_;
  std::vector<std::pair<Value, Value>> items_;
  absl::flat_hash_map<std::string, size_t> texts_;
};

Value MakeUndefined(std::string reason);
Value MakeSequence(Sequence::Type type, std::vector<Value> items);
inline Value MakeList(std::vector<Value> items) {
  return MakeSequence(Sequence::Type::kList, std::move(items));
}
inline Value MakeTuple(std::vector<Value> items) {
  return MakeSequence(Sequence::Type::kTuple, std::move(items));
}
Value MakeIterator(std::vector<Value> items);
Value MakeLoop(std::vector<Value> items);
// The depth of a value that holds these. Fails when it is too deep.
int DepthAround(const std::vector<Value>& items);

std::string_view TypeName(const Value& value);  // as Python's type(value).__name__
bool Truth(const Value& value);
void RequireHashable(const Value& value);  // fails for what cannot be a key of a dict
bool Equal(Meter& meter, const Value& a, const Value& b);
// Whether a < b. Fails where Python has no order.
bool Less(Meter& meter, const Value& a, const Value& b);
double AsDouble(const Value& number);

std::string FormatInt(Int value);
std::string FormatFloat(double value);  // the shortest digits that give the value again
// str(value) and repr(value).
std::string Print(Meter& meter, const Value& value);
std::string Represent(Meter& meter, const Value& value);

// What `for` walks over. Takes what is left of an iterator. Fails for what has no items.
std::vector<Value> Items(Meter& meter, const Value& value);
// len(value); -1 for what has no length.
int64_t Length(Meter& meter, const Value& value);

}  // namespace longspan::jinja
