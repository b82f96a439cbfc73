"""Lines of text to try tokenizers on: the same ones for the same count, whatever the version of Python.

Sentences of our own in many languages, made-up words of many scripts, code, numbers, emoji, odd spaces, control
characters, runs of one character, and mixtures of all of them. A line may hold line ends.
"""
import random
import unicodedata

# What a script's words are made of. Only characters that Unicode 3.2 knew, so that every regular-expression library
# and every Python agrees on what they are.
SCRIPTS = {
    "Latin": ["az", "az", "AZ", "\u00c0\u00ff", "\u0100\u017f"],
    "Greek": ["\u0386\u03ce", "\u1f00\u1fff"],
    "Cyrillic": ["\u0410\u044f", "\u0400\u04ff"],
    "Armenian": ["\u0531\u0587"],
    "Hebrew": ["\u05d0\u05ea", "\u05d0\u05ea", "\u05b0\u05c4"],
    "Arabic": ["\u0621\u064a", "\u0621\u064a", "\u064b\u0652", "\u0671\u06d3"],
    "Syriac": ["\u0710\u072c", "\u0730\u074a"],
    "Devanagari": ["\u0901\u094d", "\u0915\u0939"],
    "Bengali": ["\u0981\u09cd", "\u0995\u09b9"],
    "Gurmukhi": ["\u0a02\u0a4d"],
    "Gujarati": ["\u0a81\u0acd"],
    "Tamil": ["\u0b82\u0bcd"],
    "Telugu": ["\u0c01\u0c4d"],
    "Kannada": ["\u0c82\u0ccd"],
    "Malayalam": ["\u0d02\u0d4d"],
    "Sinhala": ["\u0d82\u0ddf"],
    "Thai": ["\u0e01\u0e3a", "\u0e40\u0e4e"],
    "Lao": ["\u0e81\u0eb9", "\u0ec0\u0ecd"],
    "Tibetan": ["\u0f40\u0f6a", "\u0f71\u0f84", "\u0f0b\u0f0b"],
    "Myanmar": ["\u1000\u102a", "\u102c\u1039"],
    "Georgian": ["\u10a0\u10f8"],
    "Ethiopic": ["\u1200\u135a"],
    "Cherokee": ["\u13a0\u13f4"],
    "Khmer": ["\u1780\u17d3"],
    "Mongolian": ["\u1820\u1877"],
    "Hiragana": ["\u3041\u3096"],
    "Katakana": ["\u30a1\u30fe", "\uff66\uff9d"],
    "Hangul": ["\uac00\ud7a3", "\uac00\ud7a3", "\u1100\u11f9"],
    "Han": ["\u4e00\u9fa5", "\u4e00\u5fff", "\u3400\u4db5", "\U00020000\U0002a6d6"],
    "Gothic": ["\U00010330\U0001034a"],
}
DIGITS = ["09", "09", "09", "\u0660\u0669", "\u06f0\u06f9", "\u0966\u096f", "\u0e50\u0e59", "\uff10\uff19",
          "\u2160\u2182", "\u2460\u2473", "\u00b2\u00b3", "\u00bc\u00be", "\u3021\u3029"]
MARKS = ["\u0300\u036f", "\u20d0\u20ea", "\ufe00\ufe0f", "\u0e31\u0e31", "\u3099\u309a"]
SIGNS = list("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~") + list(
    "\u00a1\u00a3\u00a7\u00ab\u00bb\u00b0\u00b7\u00bf\u00d7\u2013\u2014\u2018\u2019\u201c\u201d\u2020\u2022\u2026\u2030"
    "\u20ac\u2122\u2190\u2192\u2200\u2208\u2260\u2264\u2500\u2588\u25cf\u2605\u2713\u3001\u3002\u300c\u300d\uff01\uff0c"
    "\uff1a\uff1f\u060c\u061f\u0964\u104a\u1362\u2581\ufffd")
SPACES = [" ", " ", "  ", "   ", "\t", "\t\t", "\n", "\n\n", "\r\n", "\r", " \n", "\n ", "\u00a0", "\u1680", "\u180e",
          "\u2002", "\u2003", "\u2009", "\u200a", "\u202f", "\u205f", "\u3000", "\u0085", "\u2028", "\u2029", "\x0b",
          "\x0c", "\u200b", "\u2060", "\ufeff"]
CONTROLS = [chr(code) for code in [*range(1, 9), *range(14, 32), *range(127, 133), *range(134, 160)]] + [
    "\u00ad", "\u200c", "\u200d", "\u200e", "\u200f", "\u202a", "\u202e", "\u2066", "\ue000", "\uf8ff", "\ufffe",
    "\U000e0041", "\U0010ffff"]
EMOJI = ["\u2600", "\u263a\ufe0f", "\u2764\ufe0f", "\U0001f600", "\U0001f602\U0001f602", "\U0001f44d\U0001f3fd",
         "\U0001f1e9\U0001f1ea", "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\U0001f3f3\ufe0f\u200d\U0001f308",
         "1\ufe0f\u20e3", "\U0001f680", "\U0001f999", "\U0001f636\u200d\U0001f32b\ufe0f", "\u2728", "\U0001f9d1\u200d\U0001f4bb"]
SENTENCES = r'''The ship that left at dawn had forty-two sailors, three goats and no map; it's not clear who'd planned that.
We've measured 1,048,576 bytes in 3.75 ms, i.e. about 280 GB/s (roughly 92.4% of what's possible).
DON'T SHOUT! I'LL CALL YOU, he said. They'Re late, she'S early, we'D know, YOU'VE won, I'M done.
He wrote “it’s fine” — but was it? Well… perhaps; naïve cafés coöperate.
Der Zug fährt um halb sieben über die große Brücke, und niemand ärgert sich darüber.
Le garçon a mangé l'œuf à Noël, mais où est-ce qu'il l'avait trouvé ?
El niño preguntó: ¿dónde está la montaña más alta? ¡Allí!
O coração não tem razões, disse a avó enquanto fazia pão de linguiça.
Zażółć gęślą jaźń, a potem idź spać do łóżka.
Příliš žluťoučký kůň pěl ďábelské ódy u řeky.
Pijamalı hasta yağız şoföre çabucak güvendi; İstanbul'da yağmur var.
Árvíztűrő tükörfúrógép állt a kert végében.
Hnífur og gaffall lágu á borðinu þegar við komum heim í æsi.
Tiếng Việt có nhiều dấu; đêm nay trời mưa rất to ở Hà Nội.
Ο ήλιος βγήκε και η θάλασσα ήταν ήρεμη σήμερα.
Сегодня утром выпал первый снег, и дети побежали во двор.
Що вона їла у Києві? Борщ із трьома пампушками!
הילדים הלכו לים, והשמש זרחה כל היום.
ذهب الولد إلى السوق، واشترى ٢٥ تفاحة.
کتاب‌ها را روی میز گذاشت و رفت.
आज बाज़ार में बहुत भीड़ थी।
আমরা নদীর ধারে বসে গান শুনি।
நாளை மழை பெய்யும்.
วันนี้อากาศร้อนมากที่กรุงเทพฯ
今天早上我们在公园里看到三只白鹤，真的很漂亮。
雨が止んだら、駅前のカフェで会いましょう。
오늘은 날씨가 좋아서 3시에 강가를 걸었습니다.
def area(r: float) -> float:\n    """Of a circle."""\n    return 3.14159 * r ** 2  # not exact
for (size_t i = 0; i < n; ++i) {\n\t\tsum += a[i] * b[i];\n\t}\n\treturn sum / (n != 0 ? n : 1);
SELECT name, COUNT(*) FROM users WHERE age >= 18 AND city <> 'Oslo' GROUP BY name HAVING COUNT(*) > 1;
{"id": 17, "tags": ["a", "b\n"], "nested": {"ok": true, "pi": 3.14e-2, "none": null}}
https://example.org/path/to?q=a%20b&lang=de#top and mail to someone@example.com, please
<div class="row"><p>1 &lt; 2 &amp; 3</p><br/></div><!-- end -->
if (!ptr->ok()) { LOG(ERROR) << "x=" << x_; std::exit(-1); } // see #4711
#include <vector>\ntemplate <typename T> struct Box { T value{}; };\n\n\n#endif
\begin{equation} \int_0^\infty e^{-x^2}\,dx = \frac{\sqrt{\pi}}{2} \end{equation}
    four spaces\n        eight\n\ttab\n \t mixed   \n\n   end   
$ tar -xzf a.tar.gz && ls -la ~/src | grep -E '^d' > out.txt 2>&1; echo $?
<|im_start|>user\nHello<|im_end|>\n<s>[INST] Hi [/INST]</s><start_of_turn><bos><unk><0x0A>
v1.2.3-rc4+build.5 2024-02-29T23:59:60Z +49 (0)30 1234567 0xDEADBEEF 1e-10 ½ Ⅷ 12345678901234567890
'''.splitlines()
# In these, \n and \t stand for a line end and a tab.
SENTENCES = [line.replace("\\n", "\n").replace("\\t", "\t") for line in SENTENCES]


def one_of(rng, ranges):
    while True:
        low, high = rng.choice(ranges)
        character = chr(rng.randrange(ord(low), ord(high) + 1))
        if unicodedata.ucd_3_2_0.category(character) != "Cn":
            return character


def word(rng, script):
    return "".join(one_of(rng, SCRIPTS[script]) for _ in range(rng.choice([1, 2, 3, 3, 4, 5, 6, 8, 12])))


def number(rng):
    kind = rng.choice(DIGITS)
    return "".join(one_of(rng, [kind]) for _ in range(rng.choice([1, 1, 2, 3, 4, 7, 12])))


def text_of(rng, script):
    """Words of one script with the punctuation and numbers that text has."""
    parts = []
    for _ in range(rng.randrange(1, 10)):
        parts.append(word(rng, script) if rng.random() < 0.85 else number(rng))
        if rng.random() < 0.15:
            parts[-1] += rng.choice(SIGNS)
    return (" " if rng.random() < 0.85 else rng.choice(SPACES)).join(parts)


def part_of_sentence(rng):
    sentence = rng.choice(SENTENCES)
    begin = rng.randrange(len(sentence))
    return sentence[begin:begin + rng.randrange(1, 40)]


def mixture(rng, scripts):
    """Anything next to anything."""
    makers = [lambda: word(rng, rng.choice(scripts)), lambda: number(rng), lambda: rng.choice(SIGNS),
              lambda: rng.choice(SPACES), lambda: rng.choice(SPACES), lambda: rng.choice(CONTROLS),
              lambda: rng.choice(EMOJI), lambda: one_of(rng, MARKS), lambda: part_of_sentence(rng),
              lambda: rng.choice(["'s", "'S", "'T", "'re", "'VE", "'m", "'lL", "'d", "'\u017f", "\u2019s"])]
    return "".join(rng.choice(makers)() for _ in range(rng.randrange(1, 14)))


def run(rng):
    """One thing many times."""
    thing = rng.choice([rng.choice(SIGNS), rng.choice(SPACES), rng.choice(EMOJI), "a", "ab", "0", "=", "-", " ", "\n",
                        word(rng, rng.choice(list(SCRIPTS)))])
    return rng.choice(["", "x", " ", "1"]) + thing * rng.choice([2, 3, 5, 8, 16, 17, 40]) + rng.choice(["", "x", " ", "\n"])


def line_of_kind(rng, kind, index):
    scripts = list(SCRIPTS)
    if kind < 5:
        return text_of(rng, scripts[(index // 10 * 5 + kind) % len(scripts)])
    if kind < 7:
        parts = [rng.choice(SENTENCES)] + [part_of_sentence(rng) for _ in range(rng.randrange(3))]
        rng.shuffle(parts)
        return rng.choice(["", " ", "\n"]).join(parts)
    return run(rng) if kind == 9 else mixture(rng, scripts)


def lines(count=5000, seed=20):
    """So many lines, all different."""
    rng = random.Random(seed)
    result = {}
    while len(result) < count:
        index = len(result)
        line = line_of_kind(rng, index % 10, index)
        if line:
            result[line] = index
    return list(result)
