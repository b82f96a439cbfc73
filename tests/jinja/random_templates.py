"""Templates made up from the grammar. Most operands are of a type that fits, some are not."""

import random

import cases

NAMES = {
    "text": ["s", "empty", "spaces", "lines", "u", "html", "quote", "words[0]", "people[0].name", "v"],
    "number": ["n", "m", "zero", "x", "tiny", "big", "yes", "l[0]", "people[0].age", "ns.x"],
    "list": ["l", "words", "none_list", "nested", "mixed", "people", "people[0].tags", "w"],
    "dict": ["d", "none_dict", "d.a", "people[0]", "people[0].job"],
    "any": ["nothing", "undefined_name", "d.zz", "people[1].job", "v", "w", "ns.x", "ns.y"],
}
LITERALS = {
    "text": ["''", "'a'", "'Hello'", "'é🙂'", "', '", "'%s'", "'\\n x '", "' '", "'l'", "'{}'", "'12'"],
    "number": ["0", "1", "-1", "3", "2.5", "1e20", "true", "7", "0.1"],
    "list": ["[]", "[1, 'a']", "(1, 2)", "['b', 'a', 'B']", "[3, 1.5, 2]", "(range(4) | list)", "[[1, 2], [3]]"],
    "dict": ["{}", "{'a': 1}", "{'b': [1, none], 'a': {'c': 'x'}}", "{1: 2, 'k': '<v>'}", "dict(a=1)"],
    "any": ["none", "true", "false", "'x'", "1"],
}
# What makes a value of the type; <text> and so on stand for operands.
PATTERNS = {
    "text": [
        "<text> + <text>", "<text> ~ <any>", "<any> ~ <number>", "<text> * 2", "<text>[<number>]", "<text>[1:]", "<text>[:-1]",
        "<text>[::-1]", "<text>[-3:5]", "<text> | capitalize", "<text> | indent", "<text> | indent(2, true)",
        "<text> | indent('> ', blank=true)", "<any> | lower", "<any> | upper", "<text> | replace(<text>, <text>)",
        "<text> | replace(<text>, <text>, 1)", "<text> | reverse", "<any> | string", "<text> | title",
        "<any> | tojson", "<dict> | tojson(indent=2)", "<list> | tojson(ensure_ascii=true)", "<any> | trim",
        "<text> | trim(<text>)", "<list> | join", "<list> | join(<text>)", "<text>.upper()",
        "<text>.lower()", "<text>.strip()", "<text>.strip(<text>)", "<text>.lstrip(<text>)", "<text>.rstrip(<text>)",
        "<text>.title()", "<text>.capitalize()", "<text>.replace(<text>, <text>)", "<text>.join(<list> | map('string'))",
        "<text>.removeprefix(<text>)", "<text> % <any>",
        "<text>.format(<any>)", "<text>.split(<text>)[0]", "<text>.split(<text>)[-1]", "<text>.partition(<text>)[2]",
        "<text> | default(<text>)", "<any> | d(<text>, true)", "<list> | first", "<list> | last",
        "<text> | format(<any>)",
    ],
    "number": [
        "<number> + <number>", "<number> - <number>", "<number> * <number>", "<number> / <number>", "<number> // <number>",
        "<number> % <number>", "-<number>", "<number> | abs", "<any> | int", "<text> | int(3)", "<any> | float",
        "<number> | round", "<number> | round(2)", "<text> | length", "<list> | length",
        "<dict> | length", "<list> | count", "<list> | sum", "<list> | min", "<list> | max", "<text>.find(<text>)",
        "<text>.rfind(<text>)", "<text>.count(<text>)", "<list>[<number>]", "<list>[0]",
        "<list>.count(<any>)", "<list>.index(<number>)", "<list> | sum(start=1)", "<dict>.get('a', 1)",
    ],
    "bool": [
        "<any> == <any>", "<number> == <number>", "<text> != <text>", "<number> < <number>", "<text> <= <text>",
        "<number> > <number> >= <number>", "<text> in <text>", "<any> not in <list>", "<text> in <dict>", "not <any>",
        "<bool> and <bool>", "<bool> or <bool>", "<any> is boolean", "<any> is defined", "<number> is divisibleby(3)",
        "<any> is eq(<any>)", "<number> is even", "<any> is false", "<number> is gt(<number>)", "<any> is in(<list>)",
        "<any> is integer", "<any> is iterable", "<any> is mapping", "<any> is none", "<any> is number",
        "<any> is not number", "<number> is odd", "<any> is sequence", "<any> is string", "<any> is true",
        "<any> is undefined", "<text>.startswith(<text>)", "<text>.endswith((<text>, <text>))",
        "<text>.isdigit()", "<any> is sameas(none)",
    ],
    "list": [
        "<list> + <list>", "<list> * 2", "<list>[1:]", "<list>[:-1]", "<list>[::-1]", "<list>[0:9:2]", "[<any>, <any>]",
        "(<any>, <text>)", "<list> | list", "<text> | list", "<dict> | list", "<list> | reverse | list", "<list> | sort",
        "<list> | sort(reverse=true)", "people | sort(attribute='name')", "<list> | unique | list", "<dict> | items | list",
        "<dict>.items() | list", "<dict>.values() | list", "<dict> | dictsort", "<text>.split()", "<text>.split(<text>)",
        "<text>.rsplit(<text>, 1)", "<text>.splitlines()", "<list> | map('string') | list", "<list> | map('upper') | list",
        "<list> | map('length') | list", "<list> | map(attribute='name') | list", "<list> | map(attribute=0) | list",
        "<list> | select | list", "<list> | reject('none') | list", "<list> | select('equalto', <any>) | list",
        "<list> | selectattr('age', 'gt', <number>) | list", "<list> | rejectattr('job') | list", "<text>.partition(<text>)",
        "<list> | map('default', <any>) | list", "<any> | default(<list>, true)", "<list> | sort(case_sensitive=true)",
    ],
    "dict": ["dict(<dict>, z=<any>)", "{'k': <any>, <text>: <any>}", "<list>[<number>]", "<dict>.a", "<dict>['a']",
             "<dict>.get(<text>)", "<dict>.get('a', <dict>)", "<list> | first", "<any> | default(<dict>, true)"],
    "any": ["<text>", "<number>", "<list>", "<dict>", "<bool>", "<any> if <bool> else <any>", "<any> or <any>", "<any> and <any>",
            "<dict>.<attribute>", "<dict>[<any>]", "<any>.<attribute>", "<list>[<number>]"],
}
PATTERNS["bool"] += ["true", "false"]
NAMES["bool"] = ["yes", "no"]
LITERALS["bool"] = ["true", "false"]
ATTRIBUTES = ["name", "age", "tags", "a", "b", "c", "six", "job", "x.y"]
TYPES = ["text", "number", "list", "dict", "bool", "any"]


class Maker:
    def __init__(self, seed):
        self.random = random.Random(seed)

    def expression(self, wanted, depth):
        if self.random.random() < 0.04:
            wanted = self.random.choice(TYPES)
        if depth <= 0 or self.random.random() < 0.1:
            return self.random.choice(self.random.choice([NAMES, LITERALS])[wanted])
        pattern = self.random.choice(PATTERNS[wanted])
        parts = pattern.split("<")
        made = parts[0]
        for part in parts[1:]:
            kind, closing, rest = part.partition(">")
            if not closing or kind not in TYPES + ["attribute"]:
                made += "<" + part
            elif kind == "attribute":
                made += self.random.choice(ATTRIBUTES) + rest
            elif rest.startswith("["):  # what jinja2 folds at compile time follows other rules: no literals
                made += self.random.choice(NAMES[kind]) + rest
            else:
                inner = self.expression(kind, depth - 1)
                made += (inner if inner.replace("_", "").isalnum() else f"({inner})") + rest
        return made

    def tag(self, begin, text, end):
        sign = self.random.choice
        return begin + sign(["", "", "-"]) + f" {text} " + sign(["", "", "-"]) + end

    def block(self, text):
        return self.tag("{%", text, "%}")

    def body(self, depth):
        return "".join(self.statement(depth - 1) for _ in range(self.random.randrange(1, 4)))

    def statement(self, depth):
        kind = self.random.randrange(10) if depth > 0 else self.random.randrange(5)
        choice, block = self.random.choice, self.block
        if kind <= 1:
            return choice(["text", "\n", "  ", "\n  line\n", " é ", "\n\n", "{# note #}", "\n  {# note -#}\n "])
        if kind <= 3:
            return self.tag("{{", self.expression("any", 2), "}}")
        if kind == 4:
            return block(f"set {choice(['v', 'w', 'ns.x', 'ns.y'])} = {self.expression('any', 2)}")
        if kind == 5:
            middle = block(f"elif {self.expression('bool', 1)}") + self.body(depth) if choice([True, False]) else ""
            return (block(f"if {self.expression('bool', 2)}") + self.body(depth) + middle + block("else") + self.body(depth) +
                    block("endif"))
        if kind <= 7:
            condition = f" if {self.expression('bool', 1)}" if self.random.random() < 0.3 else ""
            leave = ["", "", block("break"), block(f"if {self.expression('bool', 1)}") + block("continue") + block("endif")]
            shown = ["{{ loop.index }}", "{{ loop.last }}", "{{ loop.nextitem }}", "{{ loop.length - loop.revindex0 }}", ""]
            other = block("else") + self.body(depth) if self.random.random() < 0.3 else ""
            return (block(f"for v in {self.expression('list', 1)}{condition}") + self.body(depth) + choice(leave) +
                    choice(shown) + other + block("endfor"))
        if kind == 8:
            name = f"m{self.random.randrange(3)}"
            call = self.tag("{{", f"{name}({self.expression('any', 1)}, w={self.expression('any', 1)})", "}}")
            return block(f"macro {name}(v, w={self.expression('any', 1)})") + self.body(depth) + block("endmacro") + call
        return block("set v") + self.body(depth) + block("endset")


def make(seed, count):
    """(name, template, variables) of each."""
    maker = Maker(seed)
    jobs = []
    for i in range(count):
        if i % 3:
            template = "{{ " + maker.expression("any", 4) + " }}"
        else:
            template = "{% set ns = namespace(x=1, y='y') %}" + "".join(maker.statement(3) for _ in range(4))
        jobs.append((f"random {i} of seed {seed}", template, cases.VARIABLES))
    return jobs
