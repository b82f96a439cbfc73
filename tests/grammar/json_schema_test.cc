// Which texts a schema lets through, byte by byte, and which schemas are refused.
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "runtime/grammar/grammar.h"
#include "tests/grammar/test_vocabularies.h"

namespace longspan {
namespace {

using Json = nlohmann::ordered_json;

// How many bytes of the text are let through, and one more when it may end there.
size_t Accepted(const Grammar::Shared& grammar, const std::string& text) {
  static const auto vocabulary = ByteVocabulary();
  const auto constraint = NewConstraint(grammar, vocabulary);
  std::vector<uint64_t> allowed(vocabulary->mask_words());
  for (size_t i = 0; i < text.size(); ++i) {
    constraint->Allowed(1'000'000, allowed);
    const auto byte = static_cast<int32_t>(static_cast<uint8_t>(text[i]));
    if (!IsAllowed(allowed, byte)) return i;
    constraint->Accept(byte);
  }
  constraint->Allowed(1'000'000, allowed);
  return text.size() + (IsAllowed(allowed, 256) ? 1 : 0);
}

struct Case {
  const char* schema;
  std::vector<std::string> accepted;
  std::vector<std::string> rejected;
};

void ExpectCases(const std::vector<Case>& cases) {
  for (const Case& c : cases) {
    const auto grammar = Grammar::FromJsonSchema(Json::parse(c.schema));
    ASSERT_TRUE(grammar.ok()) << c.schema << ": " << grammar.status();
    for (const std::string& text : c.accepted) {
      EXPECT_EQ(Accepted(*grammar, text), text.size() + 1) << c.schema << " accepts " << text;
    }
    for (const std::string& text : c.rejected) {
      EXPECT_LE(Accepted(*grammar, text), text.size()) << c.schema << " rejects " << text;
    }
  }
}

TEST(JsonSchemaTest, Strings) {
  ExpectCases({
      {R"({"type": "string"})",
       {R"("")", R"("a b/~")", R"("\"\\\/\b\f\n\r\t")", R"("\u00e9\uFFFF\ud83d\uDE00")",
        "\"caf\xC3\xA9 \xF0\x9F\x98\x80\"", "\"\x7F\xED\x9F\xBF\xEE\x80\x80\xF4\x8F\xBF\xBF\"",
        R"("\ud7ff\uE000")"},
       {"",
        "a",
        R"("a)",
        R"("a"b)",
        R"("a" )",
        "\"\n\"",
        "\"\x1F\"",
        R"("\a")",
        R"("\u12g4")",
        R"("\u123")",
        R"("\ud83d")",
        R"("\ud83dx")",
        R"("\ud83d\u0041")",
        R"("\udE00")",
        "\"\x80\"",
        "\"\xC0\x80\"",
        "\"\xC3\"",
        "\"\xE0\x80\x80\"",
        "\"\xED\xA0\x80\"",
        "\"\xF0\x80\x80\x80\"",
        "\"\xF4\x90\x80\x80\"",
        "\"\xF5\x80\x80\x80\"",
        "\"\xFF\"",
        R"('a')",
        R"( "a")"}},
      {R"({"type": "string", "minLength": 2, "maxLength": 3})",
       {R"("ab")", R"("abc")", R"("\u0041\n")", "\"\xC3\xA9\xF0\x9F\x98\x80\xE4\xB8\xAD\"",
        R"("\ud83d\ude00b")"},
       {R"("")", R"("a")", R"("abcd")", R"("\ud83d\ude00")"}},
      {R"({"type": "string", "maxLength": 0})", {R"("")"}, {R"("a")", R"("\n")"}},
      {R"({"type": "string", "minLength": 3})", {R"("abc")", R"("abcdefgh")"}, {R"("ab")"}},
  });
}

TEST(JsonSchemaTest, Patterns) {
  ExpectCases({
      {R"({"type": "string", "pattern": "^[a-c]+\\d{2,3}$"})",
       {R"("a12")", R"("abc123")"},
       {R"("12")", R"("a1")", R"("a1234")", R"("d12")", R"("a12x")"}},
      {R"({"pattern": "b"})", {R"("b")", R"("abc")", "\"\xC3\xA9\\nb\\u0001\""}, {R"("ac")", R"("")"}},
      {R"({"pattern": "^(?:ab|c)*(x?y)$|^z"})",
       {R"("y")", R"("abcxy")", R"("z")", R"("zabc")"},
       {R"("abx")", R"("az")", R"("yz")"}},
      {R"({"pattern": "^[^a\\W]\\.\\S\\x41\\u00e9[\\]\\-x-]$"})",
       {"\"b..A\xC3\xA9]\"", "\"_.\\\"A\xC3\xA9-\""},
       {"\"a..A\xC3\xA9]\"", "\"b. A\xC3\xA9]\"", "\"b..A\xC3\xA9y\"", "\"bx.A\xC3\xA9x\""}},
      // What a JSON string has to escape.
      {R"({"pattern": "^[\"\\\\\\n\\t]{4}$"})",
       {R"("\"\\\n\t")"},
       {"\"\n\n\n\n\"", R"("\"\\\n")", R"("\u0022\\\n\t")"}},
      {R"({"pattern": "^.$"})",
       {R"("a")", R"("\"")", "\"\xF0\x9F\x98\x80\""},
       {R"("\n")", R"("")", "\"\xE2\x80\xA8\""}},
      {R"({"pattern": "^a{0}b{2}c{1,}d*?$"})", {R"("bbc")", R"("bbccdd")"}, {R"("abbc")", R"("bb")"}},
      {R"({"pattern": ""})", {R"("")", R"("any")"}, {R"("a)"}},
      {R"({"pattern": "^\\\\u$"})", {R"("\\u")"}, {R"("u")"}},
  });
}

TEST(JsonSchemaTest, Formats) {
  ExpectCases({
      {R"({"format": "date"})",
       {R"("2024-02-28")", R"("1999-12-31")"},
       {R"("2024-02-30")", R"("2024-13-01")", R"("2024-4-01")", R"("2024-04-31")"}},
      {R"({"format": "date-time"})",
       {R"("2024-01-31T23:59:59Z")", R"("2024-01-31T00:00:00.123+05:30")"},
       {R"("2024-01-31 23:59:59Z")", R"("2024-01-31T24:00:00Z")", R"("2024-01-31T23:59:59")"}},
      {R"({"format": "time"})", {R"("12:00:00Z")"}, {R"("12:60:00Z")"}},
      {R"({"format": "duration"})",
       {R"("P1Y2M3D")", R"("PT5M10S")", R"("P3W")", R"("P1DT2H")"},
       {R"("P")", R"("PT")", R"("1D")", R"("P1S")"}},
      {R"({"format": "email"})",
       {R"("a.b+c@d-e.org")"},
       {R"("a@")", R"("a@b..c")", R"(".a@b")", R"("a b@c")"}},
      {R"({"format": "hostname"})", {R"("a")", R"("a-b.c1.org")"}, {R"("-a")", R"("a-")", R"("a..b")"}},
      {R"({"format": "ipv4"})", {R"("0.10.255.1")"}, {R"("256.1.1.1")", R"("01.1.1.1")", R"("1.1.1")"}},
      {R"({"format": "ipv6"})",
       {R"("::1")", R"("::")", R"("1:2:3:4:5:6:7:abCD")"},
       {R"("1:2")", R"("1:2:3:4:5:6:7:8:9")", R"("::g")"}},
      {R"({"format": "uri"})",
       {R"("https://a.org/b/c.html")", R"("http://a")"},
       {R"("ftp://a")", R"("http://")", R"("http://a b")"}},
      {R"({"format": "uuid"})",
       {R"("01234567-89ab-cdef-0123-456789ABCDEF")"},
       {R"("0123456789abcdef0123456789abcdef")"}},
  });
}

TEST(JsonSchemaTest, Numbers) {
  ExpectCases({
      {R"({"type": "integer"})",
       {"0", "7", "-12", "999999999999999", "-999999999999999"},
       {"", "-", "01", "-0", "1.0", "1e3", "+1", "1000000000000000", "00"}},
      {R"({"type": "number"})",
       {"0", "-3", "0.5", "-0.25", "12.50", "1e5", "1.5E-07", "2E+12", "99999.9999999999",
        "999999999999999e99"},
       {".5", "1.", "01.5", "-", "1e", "1e123", "1e+", "-0", "--1", "1.2.3", "0.123456789012345", "NaN"}},
      {R"({"type": "integer", "minimum": -5, "maximum": 120})",
       {"-5", "-1", "0", "9", "99", "100", "119", "120"},
       {"-6", "-10", "121", "130", "200", "1000"}},
      {R"({"type": "integer", "exclusiveMinimum": 9, "exclusiveMaximum": 11})",
       {"10"},
       {"9", "11", "1", "100"}},
      {R"({"type": "integer", "minimum": 0.5, "maximum": 2.5})", {"1", "2"}, {"0", "3", "1.5"}},
      {R"({"type": "integer", "maximum": -10})", {"-10", "-11", "-999"}, {"-9", "0", "10", "-1"}},
      {R"({"type": "integer", "minimum": -9007199254740991, "maximum": 9007199254740991})",
       {"-7", "999999999999999"},
       {}},
      {R"({"type": "number", "minimum": 0, "maximum": 1})",
       {"0", "1", "0.0", "1.0", "1.00", "0.999", "0.5"},
       {"1.01", "2", "-0", "-0.5", "1e0", "10"}},
      {R"({"type": "number", "exclusiveMinimum": 0})", {"0.01", "1", "17.5"}, {"0", "0.0", "-1"}},
      {R"({"type": "number", "minimum": -1.25, "exclusiveMaximum": 2.5})",
       {"-1.25", "-1.2", "-0.5", "0", "2.4999", "2.4", "2", "-1.250"},
       {"-1.26", "-1.251", "2.5", "2.50", "3", "-2"}},
      {R"({"type": "number", "minimum": 1e-7, "maximum": 1.5e3})",
       {"0.0000001", "0.001", "1500", "1500.0"},
       {"0", "0.00000001", "1500.1"}},
      {R"({"type": "integer", "multipleOf": 7})", {"0", "7", "49", "-14"}, {"1", "48"}},
      {R"({"type": "number", "multipleOf": 5, "minimum": 3})", {"5", "100"}, {"0", "7", "5.5"}},
      {R"({"minimum": 3})", {"3"}, {"2", R"("a")"}},
  });
}

TEST(JsonSchemaTest, Values) {
  ExpectCases({
      {R"({"enum": ["a", "ab", 1, 12, 1.5, null, true, {"x": [1, 2]}, "q\"\n"]})",
       {R"("a")", R"("ab")", "1", "12", "1.5", "null", "true", R"({"x":[1,2]})", R"("q\"\n")"},
       {R"("abc")", R"("b")", "2", "false", R"({"x":[1]})", R"({"x": [1,2]})"}},
      {R"({"type": ["string", "null"], "enum": ["a", null, 3]})", {R"("a")", "null"}, {"3"}},
      {R"({"const": "x", "type": "string", "enum": ["x", "y"]})", {R"("x")"}, {R"("y")"}},
      {R"({"const": false})", {"false"}, {"true"}},
      {R"({"type": "boolean"})", {"true", "false"}, {"null", "True", "truefalse"}},
      {R"({"type": "null"})", {"null"}, {"0"}},
      {R"({"type": ["integer", "string", "number"]})", {"1", "1.5", R"("a")"}, {"null"}},
      {R"({})",
       {"1", R"("a")", "[]", R"([1, {"a":null},[true,false]])", R"({"a": {"b":[]},"c":-1.5e3})"},
       {"[1,]", "{,}", R"({"a"})", "[1 ]", "[1,  2]"}},
      {"true", {"[{}]"}, {"x"}},
      {R"({"anyOf": [{"type": "integer"}, {"type": "array", "items": {"type": "integer"}}, {"const": "12"}]})",
       {"12", "[12]", R"("12")"},
       {R"("1")", "[\"12\"]"}},
      {R"({"allOf": [{"$ref": "#/$defs/a"}], "$defs": {"a": {"type": "null"}}})", {"null"}, {"1"}},
      {R"({"title": "t", "description": "d", "default": 3, "examples": [1], "type": "null"})", {"null"}, {}},
  });
}

TEST(JsonSchemaTest, Objects) {
  ExpectCases({
      {R"({"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "string"}},
           "required": ["a", "b"], "additionalProperties": false})",
       {R"({"a":1,"b":"x"})", R"({"a": 1, "b": "x"})", R"({"a": 1,"b":"x"})"},
       {"{}", R"({"a":1})", R"({"b":"x","a":1})", R"({"a":1,"b":"x","c":2})", R"({"a":1,"b":"x"} )",
        R"({ "a":1,"b":"x"})", R"({"a":  1,"b":"x"})", R"({"a" :1,"b":"x"})", R"({"a":1, })",
        R"({"a":"1","b":"x"})", "{\"a\":\n1,\"b\":\"x\"}"}},
      {R"({"type": "object", "properties": {"a": {"const": 1}, "b": {"const": 2}, "c": {"const": 3}, "d": {"const": 4}},
           "required": ["c"]})",
       {R"({"c":3})", R"({"a":1,"c":3})", R"({"b":2,"c":3,"d":4})", R"({"a":1,"b":2,"c":3,"d":4})"},
       {"{}", R"({"a":1})", R"({"d":4})", R"({"c":3,"e":5})", R"({"c":3,"b":2})", R"({"c":3,"c":3})",
        R"({"c":3,})"}},
      {R"({"type": "object", "properties": {"a": {"const": 1}}})", {"{}", R"({"a":1})"}, {R"({"b":1})"}},
      {R"({"type": "object"})", {"{}", R"({"x":[1],"y": {}})"}, {"[]", R"({"x":1,})"}},
      {R"({"type": "object", "additionalProperties": false})", {"{}"}, {R"({"x":1})"}},
      {R"({"type": "object", "additionalProperties": {"type": "integer"}})",
       {"{}", R"({"x":1, "y":2})"},
       {R"({"x":"1"})"}},
      {R"({"properties": {"ab": {"const": 1}, "a\u00e9": {"const": 2}, "x\"y": {"const": 3}}, "required": ["ab"],
           "additionalProperties": {"type": "null"}})",
       {R"({"ab":1})", R"({"ab":1,"a":null})", R"({"ab":1,"abc":null,"b\n":null})",
        "{\"ab\":1,\"a\xC3\xA9\":2,\"q\xC3\xA9\":null}", R"({"ab":1,"x\"y":3,"":null})"},
       {R"({"a":null})", R"({"ab":1,"ab":null})", R"({"ab":1,"\u0061b":null})",
        "{\"ab\":1,\"a\xC3\xA9\":null}", R"({"ab":1,"x\"y":null})", R"({"ab":1,"abc":1})"}},
      {R"({"type": "object", "required": ["z"], "properties": {"a": {"const": 1}}})",
       {R"({"z":[]})", R"({"a":1,"z":{}})"},
       {"{}", R"({"a":1})"}},
      {R"({"type": "object", "properties": {"a\"\n": {"const": 1}}, "required": ["a\"\n"]})",
       {R"({"a\"\n":1})"},
       {}},
      // A property that nothing satisfies is left out.
      {R"({"properties": {"a": false, "b": {"const": 1}}})", {"{}", R"({"b":1})"}, {R"({"a)"}},
  });
}

TEST(JsonSchemaTest, Arrays) {
  ExpectCases({
      {R"({"type": "array", "items": {"type": "boolean"}})",
       {"[]", "[true]", "[true,false, true]"},
       {"[true,]", "[,true]", "[1]", "[ true]", "[true"}},
      {R"({"type": "array", "items": {"const": 1}, "minItems": 1})", {"[1]", "[1,1,1,1]"}, {"[]", "[1,]"}},
      {R"({"type": "array", "items": {"const": 1}, "minItems": 2, "maxItems": 3})",
       {"[1,1]", "[1, 1, 1]"},
       {"[]", "[1]", "[1,1,1,1]"}},
      {R"({"type": "array", "items": {"const": 1}, "minItems": 3})",
       {"[1,1,1]", "[1,1,1,1,1]"},
       {"[1,1]", "[1,1,1,]"}},
      {R"({"type": "array", "items": {"const": 1}, "maxItems": 1})", {"[]", "[1]"}, {"[1,1]"}},
      {R"({"type": "array", "maxItems": 0})", {"[]"}, {"[1]"}},
      {R"({"type": "array", "prefixItems": [{"const": 1}, {"const": 2}], "items": {"const": 3}, "minItems": 1})",
       {"[1]", "[1,2]", "[1,2,3]", "[1,2,3,3]"},
       {"[]", "[2]", "[1,3]", "[1,2,2]"}},
      {R"({"type": "array", "prefixItems": [{"const": 1}, {"const": 2}], "items": false, "minItems": 2})",
       {"[1,2]"},
       {"[1]", "[1,2,3]"}},
      {R"({"type": "array", "items": {"type": "array", "items": {"type": "integer"}, "maxItems": 2}, "maxItems": 2})",
       {"[]", "[[],[1,2]]"},
       {"[[1,2,3]]", "[[],[],[]]"}},
      {R"({"items": {"const": 1}})", {"[1]"}, {"{}"}},
  });
}

TEST(JsonSchemaTest, References) {
  ExpectCases({
      {R"({"$defs": {"node": {"type": "object", "properties": {"v": {"type": "integer"}, "next": {"anyOf": [{"$ref": "#/$defs/node"},
           {"type": "null"}]}}, "required": ["v", "next"], "additionalProperties": false}}, "$ref": "#/$defs/node"})",
       {R"({"v":1,"next":null})", R"({"v":1,"next":{"v":2,"next":{"v":3,"next":null}}})"},
       {R"({"v":1,"next":{}})"}},
      {R"({"type": "object", "properties": {"children": {"type": "array", "items": {"$ref": "#"}}}, "required": ["children"]})",
       {R"({"children":[]})", R"({"children":[{"children":[]},{"children":[{"children":[]}]}]})"},
       {R"({"children":[{}]})"}},
      {R"({"properties": {"a": {"anyOf": [{"type": "null"}, {"const": 1}]}, "b": {"$ref": "#/properties/a/anyOf/1"}}, "required": ["b"]})",
       {R"({"b":1})"},
       {R"({"b":null})"}},
      {R"({"definitions": {"a/b~c": {"const": 1}}, "$ref": "#/definitions/a~1b~0c"})", {"1"}, {"2"}},
      // Two alternatives that differ late.
      {R"({"anyOf": [{"properties": {"k": {"const": "a"}, "x": {"type": "integer"}}, "required": ["k", "x"]},
                     {"properties": {"k": {"const": "b"}, "x": {"type": "string"}}, "required": ["k", "x"]}]})",
       {R"({"k":"a","x":1})", R"({"k":"b","x":"1"})"},
       {R"({"k":"a","x":"1"})", R"({"k":"b","x":1})"}},
      {R"({"$defs": {"l": {"anyOf": [{"type": "array", "items": {"$ref": "#/$defs/l"}}, {"type": "array", "items": {"$ref": "#/$defs/l"},
           "minItems": 1}, {"const": 0}]}}, "$ref": "#/$defs/l"})",
       {"[[[[[[[[[[[[[[[[[[[[0]]]]]]]]]]]]]]]]]]]]", "[[],[0]]"},
       {"[1]"}},
  });
}

TEST(JsonSchemaTest, NestingIsBounded) {
  const auto any = *Grammar::FromJsonSchema(Json::object());
  EXPECT_EQ(Accepted(any, std::string(200, '[') + std::string(200, ']')), 401u);
  EXPECT_LT(Accepted(any, std::string(1000, '[')), 300u);
}

TEST(JsonSchemaTest, RefusalsNameThePlace) {
  const auto message = [](const std::string& schema) {
    return std::string(Grammar::FromJsonSchema(Json::parse(schema)).status().message());
  };
  EXPECT_EQ(message(R"({"properties": {"x": {"type": "object", "patternProperties": {}}}})"),
            "schema.properties.x: \"patternProperties\" is not supported");
  EXPECT_EQ(message(R"({"oneOf": []})"),
            "schema: \"oneOf\" is not supported; where its schemas exclude each other use \"anyOf\"");
  EXPECT_EQ(message(R"({"type": "string", "minimum": 1})"),
            "schema: \"minimum\" is not supported beside this \"type\"");
  EXPECT_EQ(message(R"({"anyOf": [{"type": "null"}], "type": "null"})"),
            "schema: \"type\" is not supported beside \"anyOf\"");
  EXPECT_EQ(message(R"({"anyOf": [true, {"items": 5}]})"),
            "schema.anyOf[1].items: is 5; a schema is an object");
  EXPECT_EQ(message(R"({"$defs": {"a": {"type": "strin"}}, "items": {"$ref": "#/$defs/a"}})"),
            "schema.$defs.a: \"type\" is \"strin\"; it is object, array, string, number, integer, boolean, "
            "null, or a list of "
            "these");
  EXPECT_EQ(
      message(R"({"$ref": "#/$defs/a"})"),
      "schema: \"$ref\" is \"#/$defs/a\", and no such schema is in this one; write it as \"#/$defs/NAME\"");
  EXPECT_EQ(message(R"({"type": "string", "minLength": -1})"),
            "schema: \"minLength\" is -1; a whole number from 0 to 100000 is supported");
  EXPECT_EQ(
      message(R"x({"type": "string", "pattern": "a(?=b)"})x"),
      "schema: \"pattern\" is \"a(?=b)\": of groups with '?' only (?:...) is supported, at character 3");
  EXPECT_EQ(message(R"({"format": "regex"})"),
            "schema: \"format\" is \"regex\"; date, date-time, duration, email, hostname, ipv4, ipv6, time, "
            "uri and uuid are "
            "supported");
  EXPECT_EQ(message(R"({"type": "integer", "minimum": 1e20})"),
            "schema: \"minimum\" is 1e+20; numbers have 15 digits at most");
  EXPECT_EQ(message(R"({"type": "number", "multipleOf": 0.01})"),
            "schema: \"multipleOf\" is 0.01; a whole number from 1 to 1000 is supported");
  EXPECT_EQ(message(R"({"properties": {"a": {}}, "required": ["b"], "additionalProperties": false})"),
            "schema: \"required\" has \"b\", which \"properties\" lacks");
  EXPECT_EQ(message(R"({"enum": []})"), "schema: \"enum\" is not a list of values");
  EXPECT_EQ(message(R"({"enum": [1], "type": "string"})"), "schema: no value of \"enum\" satisfies the rest");
  EXPECT_EQ(message("[]"), "schema: is array; a schema is an object");
  EXPECT_EQ(message("false"), "schema: no text satisfies it");
  EXPECT_EQ(message(R"({"type": "integer", "minimum": 3, "maximum": 2})"), "schema: no text satisfies it");
  EXPECT_EQ(message(R"({"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]})"),
            "schema: no text satisfies it");
  EXPECT_EQ(
      message(R"({"anyOf": [{"$ref": "#"}, {"type": "null"}]})"),
      "schema: a \"$ref\" leads back to itself with no object or array between; such a schema says nothing");
  for (const char* pattern :
       {"(", ")", "[", "a{2", "a{3,2}", "*", "a**", "\\\\", "\\\\1", "\\\\p{L}", "a^", "a$b", "(a$)", "\\\\b",
        "[z-a]", "a{1001}", "\\\\u12", "(((((a{50}){50}){50}){50}){50})"}) {
    EXPECT_NE(message(std::string(R"({"pattern": ")") + pattern + "\"}"), "") << pattern;
  }
}

TEST(JsonSchemaTest, SizeIsBounded) {
  const auto fails = [](const Json& schema) { return !Grammar::FromJsonSchema(schema).ok(); };
  Json nested = Json::parse(
      R"({"type": "array", "minItems": 100000, "items": {"type": "string", "minLength": 100000}})");
  EXPECT_TRUE(fails(nested));
  Json deep = true;
  for (int i = 0; i < 100; ++i) deep = Json{{"type", "array"}, {"items", deep}};
  EXPECT_TRUE(fails(deep));
  for (int i = 0; i < 100'000; ++i) deep = Json::array({std::move(deep)});
  EXPECT_TRUE(fails(Json{{"enum", std::move(deep)}}));
  // Wide ones are fine.
  Json wide{{"type", "object"}, {"additionalProperties", false}};
  for (int i = 0; i < 1000; ++i)
    wide["properties"]["member " + std::to_string(i)] = Json{{"type", "integer"}};
  const auto grammar = Grammar::FromJsonSchema(wide);
  ASSERT_TRUE(grammar.ok()) << grammar.status();
  EXPECT_EQ(Accepted(*grammar, R"({"member 5":1,"member 999":2})"), 30u);
}

}  // namespace
}  // namespace longspan
