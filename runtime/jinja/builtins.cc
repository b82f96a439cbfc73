#include "runtime/jinja/builtins.h"

#include <algorithm>
#include <ctime>

#include "runtime/jinja/interpreter.h"
#include "runtime/jinja/operators.h"

namespace longspan::jinja {
namespace {

constexpr Int kMaxRange = 100000;  // items, as jinja2's sandbox

Value Range(Call& call) {
  Int start = 0, stop = call.Integer(0, 0);
  if (call.Has(1)) {
    start = stop;
    stop = call.Integer(1, 0);
  }
  const Int step = call.Integer(2, 1);
  if (step == 0) Fail({"the step of a range is 0"});
  const Int span = step > 0 ? stop - start : start - stop;
  const Int width = step > 0 ? step : -step;
  const Int count = span <= 0 ? Int{0} : (span - 1) / width + 1;
  if (count > kMaxRange) Fail({"a range has more than ", FormatInt(kMaxRange), " items"});
  call.meter.ChargeItems(static_cast<size_t>(count));
  std::vector<Value> items;
  for (Int i = 0; i < count; ++i) items.emplace_back(start + i * step);
  return MakeSequence(Sequence::Type::kRange, std::move(items));
}

Value MakeDict(Call& call) {
  DictBuilder dict(&call.meter);
  for (const Value& source : call.arguments.positional) {
    RequireDefined(source);
    if (const Dict* other = source.AsDict()) {
      for (const auto& [key, value] : other->items) dict.Set(key, value);
      continue;
    }
    for (const Value& item : Items(call.meter, source)) {
      std::vector<Value> pair = Items(call.meter, item);
      if (pair.size() != 2) Fail({"dict takes pairs of a key and a value"});
      dict.Set(std::move(pair[0]), std::move(pair[1]));
    }
  }
  for (auto& [name, value] : call.arguments.keywords) dict.Set(name, std::move(value));
  return dict.Build();
}

Value MakeNamespace(Call& call) {
  if (!call.arguments.positional.empty())
    Unsupported({"namespace of a dict is not supported: give it keywords"});
  Value result = call.interpreter.NewNamespace();
  for (auto& [name, value] : call.arguments.keywords) result.AsNamespace()->Set(name, std::move(value));
  return result;
}

Value RaiseException(Call& call) {
  throw Error{absl::StatusCode::kInvalidArgument, call.Printed(0), 0, /*raised=*/true};
}

Value FormatNow(Call& call) {
  // A time without a zone prints nothing for the zone, as Python's.
  std::string format;
  const std::string_view asked = call.String(0);
  for (size_t i = 0; i < asked.size(); ++i) {
    if (asked[i] == '%' && i + 1 < asked.size()) {
      const char kind = asked[++i];
      if (kind == 'f') format += "000000";
      if (kind != 'f' && kind != 'z' && kind != 'Z') format += {'%', kind};
    } else {
      format += asked[i];
    }
  }
  if (format.empty()) return "";
  // Room for the longest names of days, months and whole dates.
  call.meter.Charge(format.size(), 64);
  std::string text(64 * format.size(), '\0');
  text.resize(std::strftime(text.data(), text.size(), format.c_str(), &call.interpreter.now()));
  return text;
}

constexpr Builtin kGlobals[] = {
    {"range", "start stop? step?", Range}, {"dict", "*", MakeDict},
    {"namespace", "*", MakeNamespace},     {"raise_exception", "message", RaiseException},
    {"strftime_now", "format", FormatNow},
};

}  // namespace

Int Call::Integer(size_t i, Int absent) const {
  if (!Has(i)) return absent;
  Int integer = 0;
  if (!bound[i]->AsInteger(&integer)) {
    RequireDefined(*bound[i]);
    Fail({function, " needs a whole number, not a ", TypeName(*bound[i])});
  }
  // Within what positions and sizes need, so that sums of them do not overflow.
  constexpr Int kMost = Int{1} << 62;
  return std::clamp(integer, -kMost, kMost);
}

std::string_view Call::String(size_t i) const {
  const Text* text = bound[i]->AsText();
  if (text == nullptr) {
    RequireDefined(*bound[i]);
    Fail({function, " needs a string, not a ", TypeName(*bound[i])});
  }
  return text->text;
}

std::optional<std::string_view> Call::OptionalString(size_t i) const {
  if (!Has(i) || bound[i]->IsNone()) return std::nullopt;
  return String(i);
}

std::string Call::Printed(size_t i) const { return Has(i) ? Print(meter, *bound[i]) : ""; }

const Builtin* FindGlobal(std::string_view name) {
  const auto found = std::find_if(std::begin(kGlobals), std::end(kGlobals),
                                  [&](const Builtin& global) { return global.name == name; });
  return found == std::end(kGlobals) ? nullptr : found;
}

Value Apply(const Builtin& builtin, const Value& self, Arguments arguments, Interpreter& interpreter) {
  Call call{interpreter, interpreter.meter(), builtin.name, self, std::move(arguments), {}};
  if (builtin.parameters == "*") return builtin.apply(call);
  std::string_view rest = builtin.parameters;
  size_t used_keywords = 0;
  while (!rest.empty()) {
    std::string_view name = rest.substr(0, rest.find(' '));
    rest.remove_prefix(std::min(rest.size(), name.size() + 1));
    const bool optional = name.ends_with('?');
    if (optional) name.remove_suffix(1);
    std::optional<Value>& bound = call.bound.emplace_back();
    const size_t i = call.bound.size() - 1;
    if (i < call.arguments.positional.size()) bound = call.arguments.positional[i];
    for (const auto& [keyword, value] : call.arguments.keywords) {
      if (keyword != name) continue;
      if (bound) Fail({builtin.name, " is given '", name, "' twice"});
      bound = value;
      ++used_keywords;
    }
    if (!bound && !optional) Fail({builtin.name, " needs the argument '", name, "'"});
  }
  if (call.arguments.positional.size() > call.bound.size()) {
    Fail({builtin.name, " takes at most ", std::to_string(call.bound.size()), " arguments"});
  }
  if (used_keywords < call.arguments.keywords.size()) {
    Fail({builtin.name, " has no argument named as one that it is given"});
  }
  return builtin.apply(call);
}

}  // namespace longspan::jinja
