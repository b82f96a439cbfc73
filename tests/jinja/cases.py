"""Templates for each construct of the language."""

VARIABLES = {
    "n": 7, "m": -3, "zero": 0, "x": 2.5, "tiny": 1.5e-7, "big": 1e16, "huge": 18446744073709551615,
    "yes": True, "no": False, "nothing": None,
    "s": "Hello, World", "empty": "", "spaces": " \t a b \n", "lines": "one\ntwo\r\n\nthree",
    "u": "Łódź – 漢字 🙂 ǆ straße ŉ Σας", "html": "<a href=\"x\">'&amp;</a>",
    "quote": "it's \"so\" \\ \x07\u200b\xa0\n",
    "l": [3, 1, 2], "words": ["pear", "Apple", "fig", "apple"], "none_list": [],
    "nested": [[1, 2], [3, [4, "five"]], {"six": None}], "mixed": [1, "a", None, True, 2.5],
    "d": {"b": 1, "a": {"c": [1, 2]}, "items": "own", "key with": 3}, "none_dict": {},
    "people": [
        {"name": "Ada", "age": 36, "tags": ["x"], "job": {"title": "countess"}},
        {"name": "bob", "age": 5, "tags": []},
        {"name": "Cy", "age": 36, "tags": ["y", "z"], "job": {"title": "king"}},
    ],
}

# Each is printed. With ;; between.
EXPRESSIONS = r"""
(html|safe) + "<b>" ;; "<b>" + (html|safe) ;; ("<i>"|safe) + ("<b>"|safe) ;; (html|e) ~ "<b>" ;; html | e | e
undefined_name | reverse | reverse ;; undefined_name | reverse | list ;; html | safe | e ;; ("<"|safe) + (d|tojson) ;; ("<"|safe) + "<" + "<" ;; ("<"|e) + "<" | upper
n + 1 ;; n - 10 ;; n * m ;; n / 2 ;; n // 2 ;; m // 2 ;; n % 3 ;; m % 5 ;; 7.5 // 2 ;; -7.5 // 2 ;; -7.5 % 2 ;; 7 % -3
n / zero ;; n // zero ;; n % zero ;; x / 0.0 ;; 0 ** -1 ;; 1 / 3 ;; 2 / 3 * 3 ;; 0.1 + 0.2 ;; 10 / 5 ;; 1e3 ;; 1.5e-5
tiny ;; big ;; big + 0.5 ;; 123456789012345.0 ;; 1e22 ;; 1e100 ;; 5e-324 ;; huge ;; huge + 1 ;; -huge ;; huge * 2
00 ;; 1E2 ;; -0.0 ;; +n ;; - -n ;; not n ;; not not n ;; +yes ;; -yes ;; yes + 1 ;; yes == 1 ;; 1 == 1.0 ;; no == 0
n < 8 < 9 ;; n < 8 > 9 ;; 1 < 2 == 2 ;; n == 7 != 8 ;; "a" < "b" ;; "a" < "B" ;; [1, 2] < [1, 3] ;; (1, 2) < (1,)
1 < "a" ;; none < 1 ;; 1 in l ;; 4 in l ;; "ell" in s ;; "x" not in s ;; 1 in "1" ;; "b" in d ;; "zz" in d
none in mixed ;; 1 in d ;; none == undefined_name ;; undefined_name == other_undefined ;; nothing == none
[1] == (1,) ;; {"a": 1} == {"a": 1.0} ;; yes and n ;; no and n ;; no or n ;; zero or empty or "last"
n or undefined_name.x ;; not (yes and no) ;; yes if n else no ;; "a" if no ;; ("a" if no) is undefined
1 if no else 2 if no else 3 ;; s ~ n ~ x ~ none ~ yes ;; "a" ~ undefined_name ~ "b" ;; s + "!" ;; s + n ;; "a" "b" 'c'
"ab" * 3 ;; 3 * "ab" ;; "ab" * -1 ;; [1, 2] * 2 ;; [1] + [2] + l ;; (1,) + (2, 3) ;; [1] + (2,) ;; l + none ;; s[0]
s[-1] ;; s[100] ;; s[1:4] ;; s[::-1] ;; s[-3:] ;; s[:-3] ;; s[::2] ;; s[10:2:-2] ;; u[7:12] ;; u[::-1] ;; l[0]
l[-1] ;; l[5] ;; l[1:] ;; l[::-1] ;; l[-2:] ;; l[:1] + l[1:] ;; l[none:2] ;; l[0:3:0] ;; (1, 2, 3)[1] ;; l[x]
l["a"] ;; l[yes] ;; d["b"] ;; d["zz"] ;; d.b ;; d.a.c[1] ;; d.a["c"][-1] ;; d.zz ;; d.zz.y ;; d["key with"] ;; d.items
d["items"] ;; nested[1][1][1] ;; nested[2].six ;; nested[9] ;; nested[9].x ;; people[0].job.title
people[1].job.title ;; people[1].job is defined ;; undefined_name ;; undefined_name.x ;; undefined_name["x"]
undefined_name + 1 ;; undefined_name() ;; undefined_name < 1 ;; -undefined_name ;; undefined_name[1:] ;; nothing.x
nothing["x"] ;; nothing.x.y ;; n.x ;; n[0] ;; s.nope ;; s.nope() ;; d[l] ;; d[none] ;; {1: "one"}[1]
{1: "one"}[true] ;; {none: 1, (1, 2): 3} ;; {[1]: 2} ;; {"a": 1, "a": 2} ;; {} ;; {"x": [1, {"y": (1,)}]} ;; []
[1, "a", none, true, 2.5, [], {}, (), (1,), (1, 2)] ;; (1) ;; () ;; 1, ;; 1, 2 ;; [1, 2,] ;; {"a": 1,}
["it's", 'say "x"', 'both \' and "', "\\", "\n\t\r"] ;; [quote] ;; [u] ;; [undefined_name] ;; nested ;; mixed ;; d
people ;; [s, html] ;; "\q" ;; '\'' ~ "\"" ;; "tab\there" ;; "\a\b\f\v" ;; s | length ;; u | length ;; l | length
d | length ;; n | length ;; none | length ;; undefined_name | length ;; (1, 2) | count ;; s | upper ;; s | lower
u | upper ;; u | lower ;; u | title ;; u | capitalize ;; s | title
"they're bill's friends-from the_UK [x] {y} (z) <w>" | title ;; "hELLO wORLD" | capitalize ;; n | upper
none | upper ;; "ß" | upper ;; "İ" | lower ;; "ﬁ" | capitalize ;; spaces | trim ;; spaces | trim | length
"xxaxx" | trim("x") ;; "xyaYx" | trim("xy") ;; s | trim(none) ;; n | trim ;; "　a　" | trim ;; spaces | trim(chars=" ")
l | join ;; l | join(", ") ;; words | join("-") ;; mixed | join("|") ;; people | join(", ", attribute="name")
s | join(".") ;; d | join ;; n | join ;; undefined_name | join ;; l | join(1) ;; [[1], {}] | join(";")
undefined_name | default("x") ;; undefined_name | default ;; empty | default("x") ;; empty | default("x", true)
none | default("x") ;; none | default("x", boolean=true) ;; n | d(1) ;; d.zz | d("none") ;; 0 | default(5, true)
s | replace("l", "L") ;; s | replace("l", "L", 1) ;; s | replace("", "-") ;; n | replace("7", "8")
"aaa" | replace("aa", "b") ;; s | replace("o") ;; s | replace(old="o", new="0", count=1) ;; u | replace("漢", "kan")
n | replace(7, 8) ;; "ab" | replace("", "-", 2) ;; l | first ;; l | last ;; none_list | first ;; none_list | last
s | first ;; s | last ;; d | first ;; d | last ;; (none_list|first) is undefined ;; n | first
undefined_name | first ;; undefined_name | last ;; l | list ;; s | list ;; d | list ;; (1, 2) | list ;; n | list
none | list ;; undefined_name | list ;; u | list ;; range(3) | list ;; d | items | list ;; none_dict | items | list
undefined_name | items | list ;; l | items | list ;; d.items() | list ;; d.keys() | list ;; d.values() | list
d.get("b") ;; d.get("zz") ;; d.get("zz", 5) ;; d.get() ;; d.copy() ;; d.pop("b") ;; d.update({})
d.items() is sequence ;; {"items": 1}.items() | list ;; {"get": 1}.get("get") ;; {"x": 1}.x ;; {"keys": 2}["keys"]
d.update is defined ;; d.setdefault("q", 1) ;; l.append(1) ;; l.append is defined ;; l.sort() ;; l.index(1)
l.index(9) ;; l.count(1) ;; (1, 1).count(1) ;; l.copy() ;; words | sort ;; words | sort(reverse=true)
words | sort(case_sensitive=true) ;; l | sort ;; l | sort(true)
people | sort(attribute="age") | map(attribute="name") | list ;; mixed | sort ;; d | sort ;; s | sort | join
people | sort(attribute="job.title") | map(attribute="name") | list ;; words | unique | list
words | unique(true) | list ;; mixed | unique | list
people | unique(attribute="age") | map(attribute="name") | list ;; [1, 1.0, true, "1"] | unique | list
[[1], [1]] | unique | list ;; l | reverse | list ;; s | reverse ;; u | reverse ;; d | reverse | list ;; n | reverse
(1, 2) | reverse | list ;; words | min ;; words | max ;; l | min ;; l | max ;; none_list | min ;; mixed | max
people | max(attribute="age") ;; words | min(case_sensitive=true) ;; l | sum ;; people | sum(attribute="age")
l | sum(start=10) ;; words | sum ;; none_list | sum ;; [[1], [2]] | sum(start=[]) ;; people | sum("age", 1)
people | map(attribute="name") | list ;; people | map(attribute="job.title") | list
people | map(attribute="job.title", default="?") | list ;; people | map(attribute="tags.0") | list
words | map("upper") | list ;; words | map("replace", "p", "q") | join(",") ;; l | map("string") | list
l | map("nope") | list ;; l | map | list ;; none | map("upper") | list ;; l | map(attribute=0) | list
nested | map("length") | list ;; [" a ", "b "] | map("trim") | join("|") ;; [1, 2] | map("default", 5) | list
l | map("abs") | sum ;; words | map("first") | join ;; l | select("odd") | list ;; l | reject("odd") | list
l | select("gt", 1) | list ;; l | select("lessthan", 3) | list ;; mixed | select | list ;; mixed | reject | list
mixed | select("string") | list ;; mixed | reject("none") | list ;; words | select("in", ["fig"]) | list
l | select("divisibleby", 3) | list ;; l | select("nope") | list ;; none | select | list
people | selectattr("age", "equalto", 36) | map(attribute="name") | list ;; people | selectattr("job") | list | length
people | rejectattr("job") | map(attribute="name") | join
people | selectattr("job", "defined") | map(attribute="name") | join
people | selectattr("job.title", "eq", "king") | list | length ;; people | rejectattr("tags") | list | length
people | selectattr | list
people | selectattr("age", "gt", 10) | rejectattr("name", "eq", "Cy") | map(attribute="name") | first ;; n | string
x | string ;; none | string ;; l | string ;; u | string ;; undefined_name | string ;; yes | string ;; "7" | int
"7.9" | int ;; " 42 " | int ;; "x" | int ;; "x" | int(5) ;; none | int ;; l | int ;; x | int ;; -2.9 | int
yes | int ;; "-5" | int ;; "+5" | int ;; "1e3" | int ;; "" | int ;; undefined_name | int ;; "7" | float ;; "x" | float
"x" | float(1.5) ;; " 1e3 " | float ;; n | float ;; none | float ;; "0x10" | float ;; "1." | float ;; ".5" | float
"1__0" | float ;; huge | float ;; m | abs ;; -2.5 | abs ;; yes | abs ;; s | abs ;; x | round ;; 2.5 | round
3.5 | round ;; 2.675 | round(2) ;; 1234.5678 | round(2) ;; 7 | round ;; 7 | round(2) ;; -2.5 | round
x | round(1, "nope") ;; 0.1 | round(20) ;; s | round ;; lines | indent ;; lines | indent(2) ;; lines | indent(2, true)
lines | indent(2, blank=true) ;; lines | indent("> ", first=true) ;; "" | indent(2) ;; "a" | indent(first=true)
"a\n" | indent ;; "\n" | indent(2) ;; "\na" | indent(2, true) ;; n | indent ;; "a\n\n" | indent(1) ;; d | dictsort
d | dictsort(reverse=true) ;; {"b": 2, "A": 3, "c": 1} | dictsort ;; {"b": 2, "A": 3, "c": 1} | dictsort(true)
{"b": 2, "A": 3, "c": 1} | dictsort(false, "value") ;; {"b": 2, "A": 3} | dictsort(by="nope") ;; l | dictsort
{1: 2, "a": 3} | dictsort ;; html | escape ;; html | e ;; html | safe ;; (html|e) ~ "<b>"
("<i>"|safe) + ("<b>"|safe) ;; ("<"|safe) * 2 ;; (["<"]|join("<"|safe)) + "<" ;; html | e | length
("<"|safe) == "<" ;; n | e ;; none | e ;; "%s and %d" % ("a", 5) ;; "%s" % s ;; "%s" % l ;; "%s %s" % (1,)
"%s" % (1, 2) ;; "%%"  % () ;; "%d" % "a" ;; "%" % 1 ;; "%q" % 1 ;; "%s" % {"a": 1} ;; "%s %s" | format("a", 1)
"%s" | format ;; "{}".format(1) ;; "{} {}".format(1, "a") ;; "{1} {0}".format("a", "b")
"{a} {b}".format(a=1, b=none) ;; "{{}}".format() ;; "{}".format() ;; "{".format(1) ;; "}".format(1)
"{x}".format(y=1) ;; "a{}b".format(l) ;; "{}{}".format("Ł", 1.0) ;; l | tojson ;; d | tojson
people | tojson(indent=2) ;; mixed | tojson ;; u | tojson ;; u | tojson(ensure_ascii=true) ;; quote | tojson
quote | tojson(true) ;; none | tojson ;; x | tojson ;; big | tojson ;; undefined_name | tojson ;; (1, 2) | tojson
{1: 2, none: 3, true: 4, 2.5: 5} | tojson ;; d | tojson(sort_keys=true) ;; {"b": 1, "a": 2} | tojson(sort_keys=true)
[] | tojson(indent=2) ;; {} | tojson(indent=2) ;; nested | tojson(indent=1) ;; d | tojson(separators=(",", ":"))
l | tojson(indent="--") ;; l | tojson(indent=0) ;; d.items() | tojson ;; html | tojson ;; html | safe | tojson
namespace() | tojson ;; range(3) | tojson ;; d | tojson(4) ;; "\x7f\x1f" | tojson ;; "\x7f\x1f🙂" | tojson(true)
{(1,): 2} | tojson ;; huge | tojson ;; s.upper() ;; s.lower() ;; u.upper() ;; u.lower() ;; u.title()
"they're here" | title ;; "they're here".title() ;; u.capitalize() ;; s.strip("Hd") ;; spaces.strip()
spaces.lstrip() ;; spaces.rstrip() ;; "xxaxx".lstrip("x") ;; "xxaxx".rstrip("x") ;; s.strip(none)
"<think>x</think>".rstrip("</think>") ;; "abc".strip("") ;; s.split() ;; s.split(",") ;; s.split(", ", 1)
" a  b c ".split() ;; " a  b c ".split(none, 1) ;; "a,b,c".rsplit(",", 1) ;; "a,b,c".split(",", 0)
"a,b,c".split(",", maxsplit=1) ;; s.split("") ;; "".split() ;; "".split(",") ;; lines.splitlines()
lines.splitlines(true) ;; "a,b".split(",")[-1] ;; "abc".split("b")[0] ;; "a--b--c".split("--") ;; "aaa".split("aa")
"aaa".rsplit("aa") ;; s.startswith("Hello") ;; s.startswith(("x", "H")) ;; s.endswith("World") ;; s.startswith("")
s.endswith(("a", "d")) ;; s.startswith(1) ;; "".startswith("") ;; s.find("o") ;; s.find("zz") ;; s.rfind("o")
s.index("zz") ;; s.count("o") ;; s.count("") ;; u.find("漢") ;; "aaaa".count("aa") ;; ", ".join(words) ;; ", ".join(l)
"".join([]) ;; "-".join("abc") ;; "-".join(d) ;; s.replace("l", "L") ;; s.replace("l", "L", 1) ;; s.replace("", ".")
s.replace("l") ;; s.replace("l", none) ;; "a".center(3, "ab") ;; "a-b-c".partition("-") ;; "abc".partition("-")
"prefix-x".removeprefix("prefix-") ;; "x.txt".removesuffix(".txt") ;; "abc".removeprefix("x") ;; "12".isdigit()
"½".isdigit() ;; "²".isdigit() ;; "".isdigit() ;; s is string ;; n is string ;; none is string ;; n is number
yes is number ;; x is number ;; s is number ;; n is integer ;; yes is integer ;; x is integer ;; x is float
n is float ;; yes is boolean ;; n is boolean ;; yes is true ;; n is true ;; no is false ;; zero is false
none is none ;; nothing is none ;; undefined_name is none ;; undefined_name is undefined ;; n is undefined
undefined_name is not defined ;; d.zz is defined ;; d is mapping ;; l is mapping ;; l is sequence ;; s is sequence
d is sequence ;; n is sequence ;; (1,) is sequence ;; l is iterable ;; s is iterable ;; n is iterable
none is iterable ;; undefined_name is iterable ;; undefined_name is sequence ;; undefined_name is mapping
range(3) is sequence ;; (l|map("abs")) is iterable ;; (l|map("abs")) is sequence ;; d.keys() is iterable ;; n is odd
n is even ;; n is divisibleby(7) ;; n is divisibleby 2 ;; n is eq(7) ;; n is equalto 7 ;; n is ne 8 ;; n is gt 3
n is ge 7 ;; n is lt 3 ;; n is le(7) ;; n is lessthan 8 ;; n is greaterthan 8 ;; n is in [7] ;; n is in(l)
n is not in [1] ;; "a" is in "abc" ;; s is sameas s ;; none is sameas none ;; yes is sameas true ;; 1 is sameas true
n is nope ;; n is divisibleby(0) ;; s is odd ;; n is string or n is number ;; n is not string and n is number
n is == 7 ;; not n is odd ;; n is odd == true ;; range(3) | list ;; range(1, 7, 2) | list ;; range(5, 0, -2) | list
range(0) | list ;; range(3) | length ;; range(10)[2:5] | list ;; range(10)[-1] ;; range(1, 2, 0)
range(200000) | length ;; range("a") ;; 2 in range(3) ;; range(3) | sum ;; dict(a=1, b=2) ;; dict({"x": 1}, y=2)
dict() ;; dict(1) ;; namespace(a=1).a ;; namespace().a ;; namespace(_a=1) ;; strftime_now("%Y-%m-%d")
strftime_now("%d %b %Y") ;; strftime_now("%B %d, %Y %H:%M:%S %p %j %a %A") ;; strftime_now("%%") ;; strftime_now("")
strftime_now("%z|%Z|") ;; strftime_now("%-d") ;; strftime_now("%f") ;; strftime_now is defined
raise_exception("stop here") ;; raise_exception(n) ;; raise_exception() ;; n | nope | nope(1) ;; s.__class__
s.__class__.__mro__ ;; d.__init__ ;; s.upper.__self__ ;; l | attr("index") ;; n() ;; s() ;; range() ;; l | length(1)
s | upper(1) ;; s | trim(nope=1) ;; s | trim("a", chars="b") ;; -1 | abs ;; (-1) | abs ;; 1 - -1 ;; 10 - 5 - 2
100 / 10 / 2 ;; 1 + 2 ~ 3 + 4 ;; 1 ~ 2 * 3 ;; "a" ~ 1 + 2 ;; not 1 == 2 ;; not 1 in [1] ;; 1 if 0 else 2 ~ "x"
[1, 2][0] ;; {"a": [1, 2]}.a[1] ;; "abc"[1] ;; "abc" | upper ~ "d" ;; ("abc" ~ "d") | upper
s | upper | lower | title ;; l[0] + l[1] * l[2] ;; (1, 2)[0] ;; (l) | first ;; d.a.c | last ;; 5.0 ;; 5.0 ~ ""
1.0 * 3 ;; 3.0 // 2 ;; 1e16 // 1 ;; 7 // 0.5 ;; n.0 ;; l.0 ;; nested.1.0 ;; "a".upper()[0].lower()
s.split(", ")[1][::-1] ;; people[0]["tags"][0] ;; people | length > 2 ;; people[-1].name ;; people[:2] | length
people[1:] | map(attribute="name") | list ;; people[::-1][0].name ;; (people|first).name
(people|map(attribute="name")|list)[1] ;; "%d items" | format(3) ;; s | list | length ;; dict(a=1) == {"a": 1}
{"a": 1} | length ;; {"a": {"b": 1}} | string ;; [1.0, 1e20, 1e-7] ;; (1, 2) + (3,) ;; "a" in ["a"] ;; ["a"] == ["a"]
[1, [2]] == [1, [2]] ;; [] == () ;; "" == none ;; 0 == "" ;; 0 == false ;; "a" == "a" == "a"
"""

# Whole templates, with ---- between.
TEMPLATES = r"""
{% for i in l %}
  {{ loop.index }}/{{ loop.length }} {{ loop.index0 }} {{ loop.revindex }} {{ loop.revindex0 }} {{ loop.first }} {{ loop.last }} {{ loop.previtem }} {{ loop.nextitem }} {{ loop.depth }}
{% endfor %}
----
{% set ns = namespace(x=1, found=false) %}{% for i in l %}{% set ns.x = ns.x + i %}{% if i == 1 %}{% set ns.found = true %}{% endif %}{% endfor %}{{ ns.x }} {{ ns.found }} {{ ns.nope }}
----
{% set x %}  block {{ n }}
{% endset %}[{{ x }}]{% set y | upper | trim %} shout {{ n }} {% endset %}[{{ y }}]{{ x is string }}
----
{% filter upper %}text {{ s }}{% endfilter %}{% filter trim | replace("a", "b") %}  a {{ n }} {% endfilter %}|{% filter indent(2, true) %}x
y{% endfilter %}
----
{% for i in l %}{% filter upper %}a{% if i == 1 %}{% continue %}{% endif %}{{ i }}{% endfilter %}{% endfor %}
----
{% for i in l %}{{ i }}{% endfor %}
----
{% for i in none_list %}x{% else %}nothing{% endfor %}|{% for i in undefined_name %}x{% else %}none{% endfor %}
----
{% for i in l %}{% if i == 1 %}{% continue %}{% endif %}{{ i }}{% else %}never{% endfor %}
----
{% for i in l %}{% if i == 1 %}{% break %}{% endif %}{{ i }}{% else %}never{% endfor %}
----
{% for i in l %}{% break %}{% else %}after break at once{% endfor %}
----
{% for i in l %}{% continue %}{% else %}after continue only{% endfor %}
----
{% for i in l if i > 1 %}{{ loop.index }}:{{ i }} of {{ loop.length }} {% else %}none{% endfor %}
----
{% for i in l if i > 5 %}{{ i }}{% else %}none{% endfor %}
----
{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}{% for k in d %}{{ k }},{% endfor %}{% for k, v in d|items %}{{ k }}{% endfor %}
----
{% for a, b in [[1, 2], (3, 4), "56"] %}{{ a }}-{{ b }} {% endfor %}{% for (a, b), c in [((1, 2), 3)] %}{{ a }}{{ b }}{{ c }}{% endfor %}
----
{% for a, b in [[1, 2, 3]] %}{{ a }}{% endfor %}
----
{% for a, b in l %}{{ a }}{% endfor %}
----
{% for c in u %}[{{ c }}]{% endfor %}{% for i in n %}{% endfor %}
----
{% for i in none %}{% endfor %}
----
{% for i in l %}{% for j in l %}{{ loop.index }}{% endfor %}{{ loop.index }} {% endfor %}
----
{% for i in l %}{% set outer = loop %}{% for j in words %}{{ outer.index }}.{{ loop.index }} {% endfor %}{% endfor %}{{ loop is defined }}
----
{% set x = 1 %}{% for i in l %}{% set x = x + i %}{{ x }} {% endfor %}{{ x }}
----
{% set d.x = 1 %}{{ d }}
----
{% set ns = namespace() %}{% set ns._x = 1 %}{{ ns._x }}
----
{% set nope.x = 1 %}
----
{% if yes %}{% set y = 1 %}{% endif %}{{ y }}{% if no %}{% set z = 1 %}{% endif %}{{ z is defined }}{{ z }}
----
{% for i in l %}{% if i == 3 %}{% set y = "in" %}{% endif %}{{ y }} {% endfor %}{{ y }}
----
{% if no %}a{% elif zero %}b{% elif n %}c{% else %}d{% endif %}{% if no %}a{% else %}e{% endif %}{% if undefined_name %}f{% endif %}{% if no %}{% elif no %}{% endif %}
----
{% set a, b = 1, 2 %}{{ a }}{{ b }}{% set (c, d2) = [3, 4] %}{{ c }}{{ d2 }}{% set e = 1, 2 %}{{ e }}{% set f = 1, %}{{ f }}
----
{% set a, b = 1 %}
----
{% set a, b = [1, 2, 3] %}
----
{% set x %}{% set inner = 1 %}{% endset %}{{ inner is defined }}
----
{% set ns = namespace() %}{% set ns.text %}a {{ n }}{% endset %}{{ ns.text }}
----
{% macro m(a, b=2, c="x") %}({{ a }},{{ b }},{{ c }}){% endmacro %}{{ m(1) }}{{ m(1, 3) }}{{ m(1, c=4) }}{{ m(b=5, a=6) }}{{ m() }}{{ m(a=1) | length }}{{ m(1) ~ "!" }}
----
{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, 2) }}
----
{% macro m(a) %}{{ a }}{% endmacro %}{{ m(b=1) }}
----
{% macro m(a) %}{{ a is defined }}{{ a.x }}{% endmacro %}{{ m() }}
----
{% macro m(a, b=a) %}{{ a }}{{ b }}{% endmacro %}{{ m(1) }}{{ m(1, 2) }}
----
{% macro fact(k) %}{% if k <= 1 %}1{% else %}{{ k * (fact(k - 1) | int) }}{% endif %}{% endmacro %}{{ fact(10) }}
----
{% macro tree(v) -%}
  {%- if v is mapping -%}
    { {%- for k, w in v | dictsort -%} {{ k }}: {{ tree(w) }}{{ ", " if not loop.last }} {%- endfor -%} }
  {%- elif v is string -%}
    "{{ v }}"
  {%- elif v is iterable -%}
    [ {%- for w in v -%} {{ tree(w) }}{{ "," if not loop.last }} {%- endfor -%} ]
  {%- else -%}
    {{ v }}
  {%- endif -%}
{%- endmacro %}
{{ tree(d) }}
{{ tree(people) }}
----
{% set y = 1 %}{% macro m() %}{{ y }}{% set y = 2 %}{{ y }}{% endmacro %}{{ m() }}{{ y }}{% set y = 3 %}{{ m() }}
----
{% macro m() %}{{ later }}{% endmacro %}{% set later = 1 %}{{ m() }}
----
{% for i in l %}{% macro m() %}{{ i }}{{ loop.index }}{% endmacro %}{{ m() }} {% endfor %}{{ m is defined }}
----
{% if yes %}{% macro m() %}x{% endmacro %}{% endif %}{{ m() }}
----
{% macro m() %}{{ caller() }}{% endmacro %}{{ m() }}
----
{% macro m() %}x{% endmacro %}{% call m() %}y{% endcall %}
----
{% macro m(caller) %}{{ caller }}{% endmacro %}{{ m(1) }}
----
{% generation %}a {{ n }}{% set g = 1 %}{% endgeneration %}{{ g is defined }}
----
{% for m in people %}{%- generation -%} {{ m.name }} {% endgeneration %}
{% endfor %}
----
a {# comment #} b {#- stripped -#} c {# {{ n }} {% if %} #}
  {# alone on its line #}
d
----
  {% if yes %}
    indented
  {% endif %}
  {%+ if yes +%}
    kept
  {%+ endif %}
end
----
  {{ n }}
  {{- n }}
  {{ n -}}
  x
  {%- if yes %} y {%- endif %}
  z {%- set q = 1 -%}
  w
----
x {%- if yes -%}

  a

{%- endif -%} y
{{- " " -}}
z
----
{{ "{{ not }}" }}{{ '{% %}' }}{{ "#}" }}{{ {"a": {"b": 1}}.a.b }}{{ {"a": {}} }}
----
{{ n
  + 1 }}{% set long = [
  1,
  2,
] %}{{ long }}
----
{{ "a\
b" }}
----
{%if yes%}tight{%endif%}{{n}}{{n}}{%-set q=1-%}{{q}}
----
{% set x = "a" -%}

  {{ x }}
{%- set y = "b" %}

{{ y }}
----
{{ n }}

----
{{ n }}


----

{{ n }}
----
{# only a comment #}
----

----
text alone
----
line one
{% if yes %}two{% endif %}
three
{% for i in l %}
- {{ i }}
{% endfor %}
four
----
{% for i in l -%}
  {{ i }},
{%- endfor %}
----
{%- for i in l %}
    {{- i }}
    {%- if not loop.last %},{% endif %}
{%- endfor -%}
----
{% for k, v in people | map(attribute="tags") | map("length") | list %}{% endfor %}
----
{% set it = l | map("abs") %}{% for i in it %}{{ i }}{% endfor %}|{% for i in it %}{{ i }}{% endfor %}|{{ it | list }}
----
{% set it = l | select("odd") %}{{ "some" if it else "none" }}{{ it | first }}{{ it | list }}{{ it | list }}
----
{% set it = d.items() %}{{ it | list }}{{ it | list }}{{ it | length }}
----
{{ (l | map("abs")) | length }}
----
{{ (l | map("abs"))[0] }}
----
{% set x = none %}{{ x }}{% set x = x or "y" %}{{ x }}{% set s = s | trim %}{{ s }}
----
{{ people[0].name if people[0].name is defined and people[0].name is not none else "unknown" }}
----
{% if people is iterable and people is not string and people is not mapping %}list{% endif %}{% if "name" in people[0] and people[0]["name"] | length > 0 %}named{% endif %}
----
{% set range = 5 %}{{ range }}{% set loop = 4 %}{{ loop }}
----
{% set content = "<think>\nreason\n</think>\n\nanswer" %}{% if "</think>" in content %}{{ content.split("</think>")[0].rstrip("\n").split("<think>")[-1].lstrip("\n") }}|{{ content.split("</think>")[-1].lstrip("\n") }}{% endif %}
----
{% set ns = namespace(items=[]) %}{% for p in people %}{% set ns.items = ns.items + [p.name] %}{% endfor %}{{ ns.items | join(", ") }}
----
{{ "a" if loop is defined else "b" }}{% for i in [1] %}{{ "a" if loop is defined else "b" }}{% endfor %}
----
{% macro a(x) %}{{ x }}{% endmacro %}{% macro b(f, x) %}{{ f(x) }}{% endmacro %}{{ b(a, 1) }}{% set g = a %}{{ g(2) }}
----
{% set x = 1 if n == 7 %}{{ x }}{% set y = 1 if n == 8 %}{{ y is undefined }}
----
{% set a = [1, 2, 3] %}{% set b = a[1:] + a[:1] %}{{ b }}{{ a }}
----
{{ raise_exception("Roles must alternate: got '" + s + "'") }}
----
{% for m in messages %}{{ m }}{% endfor %}{{ messages }}
----
{% if %}{% endif %}
----
{% for i l %}{% endfor %}
----
{% endif %}
----
{% if yes %}
----
{% for i in l %}{% endif %}
----
{{ n
----
{% if yes
----
{# never closed
----
{% raw %} never closed
----
{{ "never closed }}
----
{{ }}
----
{{ 1 + }}
----
{{ (1 }}
----
{{ [1) }}
----
{{ 1) }}
----
{{ a b }}
----
{{ 1 2 }}
----
{{ d.1a }}
----
{{ n ! 1 }}
----
{{ $ }}
----
{{ "\x4" }}
----
{{ "\ud800" }}
----
{% set 1 = 2 %}
----
{% set none = 2 %}
----
{% set x %}
----
{% unknown %}
----
{% break %}
----
{% for i in l %}{% macro m() %}{% break %}{% endmacro %}{% endfor %}
----
{% macro m(a=1, b) %}{% endmacro %}
----
{{ m(a=1, 2) }}
----
{{ n | }}
----
{{ n is }}
----
{{ n is string is true }}
----
{% else %}
----
{{ {1, 2} }}
----
{{ lambda x: x }}
----
{{ 1 if }}
----
{{ not }}
----
{{ a.b.c.d.e }}
----
{% call n() %}{% endcall %}
----
{% call n %}{% endcall %}
----
{% filter nope %}{% endfilter %}
----
{% if no %}{{ n | nope }}{{ n is nope }}{% endif %}ok
----
{% for i in l recursiv %}{% endfor %}
"""


def all_cases():
    """(name, template, variables) of each."""
    jobs = []
    for expression in EXPRESSIONS.strip("\n").replace("\n", " ;; ").split(" ;; "):
        jobs.append((f"expression {expression}", "{{ " + expression + " }}", VARIABLES))
    for template in TEMPLATES[1:].split("\n----\n"):
        jobs.append(("template", template, VARIABLES))
    return jobs
