"""JSON schemas made up at random: every kind of value, nested, recursive, with and without bounds."""

DEFINITIONS = {
    "tree": {"type": "object", "properties": {"value": {"type": "integer", "minimum": -3, "maximum": 40},
                                              "children": {"type": "array", "items": {"$ref": "#/$defs/tree"}, "maxItems": 2}},
             "required": ["value", "children"], "additionalProperties": False},
    "list": {"anyOf": [{"type": "null"}, {"type": "array", "items": {"$ref": "#/$defs/list"}, "maxItems": 2},
                       {"$ref": "#/$defs/tree"}]},
}
NAMES = ["a", "b", "ab", "name", "value", "kind", "it\"em", "café", "日本"]
PATTERNS = [r"^[a-c]{2,5}$", r"^(name|item)( the)*$", r"^[0-9]{3}-[A-Z]+$", "^[^a]{1,3}$", "ab"]


def root_schema(random):
    """An object's, as OpenAI's API demands."""
    return {**object_schema(random, 2), "$defs": DEFINITIONS}


def schema(random, depth):
    kinds = [string_schema, number_schema, choice_schema]
    if depth > 0:
        kinds += [array_schema, object_schema, any_schema]
    return random.choice(kinds)(random, depth)


def choice_schema(random, _):
    return random.choice([
        {"type": "boolean"}, {"type": "null"}, {"enum": ["name", "a", "café \"x\"", 12, 1.5, None, {"a": [1]}]},
        {"const": "abcd"}, {"const": -345}, {"$ref": "#/$defs/tree"}, {"$ref": "#/$defs/list"},
        {"type": ["string", "integer", "null"], "maxLength": 4, "maximum": 99}])


def string_schema(random, _):
    made = {"type": "string"}
    if random.random() < 0.3:
        return {**made, "pattern": random.choice(PATTERNS)}
    least = random.randrange(4)
    if random.random() < 0.5:
        made["minLength"] = least
    if random.random() < 0.7:
        made["maxLength"] = least + random.randrange(12)
    return made


def number_schema(random, _):
    made = {"type": random.choice(["integer", "number"])}
    least = random.randrange(-150, 150)
    if random.random() < 0.5:
        made[random.choice(["minimum", "exclusiveMinimum"])] = least
    if random.random() < 0.5:
        made[random.choice(["maximum", "exclusiveMaximum"])] = least + random.randrange(2, 200)
    if made == {"type": "integer"}:
        made["multipleOf"] = random.randrange(1, 30)
    return made


def array_schema(random, depth):
    made = {"type": "array", "items": schema(random, depth - 1)}
    least = random.randrange(3)
    if random.random() < 0.5:
        made["minItems"] = least
    if random.random() < 0.7:
        made["maxItems"] = least + random.randrange(3)
    return made


def any_schema(random, depth):
    return {"anyOf": [schema(random, depth - 1) for _ in range(3)]}


def object_schema(random, depth):
    properties = {name: schema(random, depth - 1) for name in random.sample(NAMES, random.randrange(5))}
    made = {"type": "object", "properties": properties}
    if random.random() < 0.7:
        made["required"] = [name for name in properties if random.random() < 0.7]
    if random.random() < 0.6:
        made["additionalProperties"] = False
    return made
