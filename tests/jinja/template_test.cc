#include "runtime/jinja/template.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace longspan::jinja {
namespace {

using nlohmann::ordered_json;

absl::StatusOr<std::string> Render(const std::string& text,
                                   const ordered_json& variables = ordered_json::object(),
                                   const RenderOptions& options = {}) {
  const absl::StatusOr<Template> parsed = Template::Parse(text);
  if (!parsed.ok()) return parsed.status();
  return parsed->Render(variables, options);
}

void ExpectFailure(const absl::StatusOr<std::string>& result, absl::StatusCode code,
                   const std::string& part) {
  ASSERT_FALSE(result.ok()) << result->substr(0, 100);
  EXPECT_EQ(result.status().code(), code) << result.status();
  EXPECT_NE(std::string(result.status().message()).find(part), std::string::npos) << result.status();
}

std::string Repeated(const std::string& text, int count) {
  std::string result;
  for (int i = 0; i < count; ++i) result += text;
  return result;
}

TEST(TemplateTest, RendersSeveralTimes) {
  const absl::StatusOr<Template> parsed =
      Template::Parse("{{ a.b[0] }}{% for c in a %}{{ c }}{% endfor %}\n");
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->Render({{"a", {{"b", {1, 2}}}}}, {}).value(), "1b");
  EXPECT_EQ(parsed->Render({{"a", {{"b", "xy"}}}}, {}).value(), "xb");
}

TEST(TemplateTest, ErrorsNameTheLine) {
  ExpectFailure(Render("a\n{% if %}"), absl::StatusCode::kInvalidArgument, "line 2");
  ExpectFailure(Render("a\n\n{{ 1 + none }}"), absl::StatusCode::kInvalidArgument, "line 3");
  ExpectFailure(Render("{% include 'x' %}"), absl::StatusCode::kUnimplemented, "'include'");
  ExpectFailure(Render("\xff"), absl::StatusCode::kInvalidArgument, "UTF-8");
}

// The message is for whoever sent the conversation: it stands alone.
TEST(TemplateTest, RaisedErrorsAreTheirMessage) {
  const absl::StatusOr<std::string> result = Render("{{ raise_exception('Roles must alternate') }}");
  EXPECT_EQ(result.status(), absl::InvalidArgumentError("Roles must alternate"));
}

TEST(TemplateTest, TextsOfTheConversationMustBeUtf8) {
  ExpectFailure(Render("{{ a }}", {{"a", "\xc3"}}), absl::StatusCode::kInvalidArgument, "UTF-8");
}

// What chat templates do not use is refused by name, never rendered otherwise.
TEST(TemplateTest, RefusesWhatIsLeftOut) {
  for (const char* text :
       {"{% include 'x' %}", "{% call m() %}{% endcall %}", "{% with a = 1 %}{% endwith %}",
        "{% raw %}{% endraw %}", "{% for a in b recursive %}{% endfor %}",
        "{% macro m() %}{{ varargs }}{% endmacro %}", "{% macro m() %}{{ caller() }}{% endmacro %}",
        "{{ a(*b) }}", "{{ a(**b) }}", "{{ '%5s' % 'a' }}", "{{ '{:>5}'.format(1) }}",
        "{{ 'a b'.rsplit(none, 1) }}", "{{ 1.5 | round(-1) }}", "{{ '\\101' }}"}) {
    ExpectFailure(Render(text), absl::StatusCode::kUnimplemented, "not supported");
  }
}

TEST(TemplateTest, WorkIsBounded) {
  const std::string loop = "{% for i in range(100000) %}";
  for (const std::string& text : {
           loop + loop + loop + "{% endfor %}{% endfor %}{% endfor %}",
           std::string("{{ ('a' * 1000000000000) | length }}"),
           std::string("{{ [1] * 100000000000 }}"),
           std::string("{% set ns = namespace(s='a') %}") + loop + "{% set ns.s = ns.s + ns.s %}{% endfor %}",
           std::string("{% set ns = namespace(s=[]) %}") + loop +
               "{% set ns.s = ns.s + [ns.s, ns.s] %}{% endfor %}",
           std::string("{{ 'a' | indent(100000000000) | replace('', 'b' * 100000000) }}"),
           loop + "{% set x = 'abc' * 100000 %}{% endfor %}",
       }) {
    RenderOptions options;
    options.work = 1 << 26;
    ExpectFailure(Render(text, {}, options), absl::StatusCode::kResourceExhausted, "");
  }
}

TEST(TemplateTest, OutputIsBounded) {
  RenderOptions options;
  options.output_bytes = 10;
  EXPECT_EQ(Render("{{ 'a' * 10 }}", {}, options).value(), "aaaaaaaaaa");
  ExpectFailure(Render("{{ 'a' * 10 }}b", {}, options), absl::StatusCode::kResourceExhausted, "10 bytes");
}

TEST(TemplateTest, DepthIsBounded) {
  constexpr auto kExhausted = absl::StatusCode::kResourceExhausted;
  constexpr int kDeep = 100000;
  ExpectFailure(Render("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}"), kExhausted, "");
  ExpectFailure(
      Render("{% macro a() %}{{ b() }}{% endmacro %}{% macro b() %}{{ a() }}{% endmacro %}{{ a() }}"),
      kExhausted, "");
  ExpectFailure(Render("{{ " + Repeated("(", kDeep) + Repeated(")", kDeep) + " }}"), kExhausted, "levels");
  ExpectFailure(Render("{{ " + Repeated("[", kDeep) + Repeated("]", kDeep) + " }}"), kExhausted, "levels");
  ExpectFailure(Render("{{ " + Repeated("not ", kDeep) + "a }}"), kExhausted, "levels");
  ExpectFailure(Render("{{ " + Repeated("-", kDeep) + "1 }}"), kExhausted, "levels");
  ExpectFailure(Render("{{ a" + Repeated(".a", kDeep) + " }}"), kExhausted, "levels");
  ExpectFailure(Render("{{ a" + Repeated("|a", kDeep) + " }}"), kExhausted, "levels");
  ExpectFailure(Render("{{ 1" + Repeated("+1", kDeep) + " }}"), kExhausted, "levels");
  ExpectFailure(Render(Repeated("{% if a %}", kDeep)), kExhausted, "levels");
  ExpectFailure(Render("{% for " + Repeated("(", kDeep) + Repeated(")", kDeep) + " in a %}"), kExhausted,
                "levels");
  ExpectFailure(
      Render("{% set ns = namespace(v=[]) %}{% for i in range(1000) %}{% set ns.v = [ns.v] %}{% endfor %}"),
      kExhausted, "levels");
  ordered_json deep = 1;
  for (int i = 0; i < 1000; ++i) deep = ordered_json::array({std::move(deep)});
  ExpectFailure(Render("{{ a }}", {{"a", deep}}), kExhausted, "levels");
}

// A namespace may hold itself; nothing may walk round it for ever.
TEST(TemplateTest, NamespacesMayHoldThemselves) {
  const std::string set = "{% set ns = namespace() %}{% set ns.a = ns %}{% set ns.b = [ns] %}";
  EXPECT_EQ(Render(set + "{{ ns.a.b[0].a == ns }}").value(), "True");
  EXPECT_FALSE(Render(set + "{{ ns }}").ok());
  EXPECT_FALSE(Render(set + "{{ ns | tojson }}").ok());
}

TEST(TemplateTest, TheSandboxHidesPython) {
  EXPECT_EQ(
      Render("{{ ''.__class__ is defined }}{{ [].append is defined }}{{ {}.update is defined }}").value(),
      "FalseFalseFalse");
  EXPECT_FALSE(Render("{{ ''.__class__.__mro__ }}").ok());
  EXPECT_FALSE(Render("{{ [].append(1) }}").ok());
}

}  // namespace
}  // namespace longspan::jinja
