#!/usr/bin/env python3
"""Renders templates with Longspan and with jinja2, set up as the library transformers does it for chat templates, and
compares byte by byte. Where one fails the other must fail too; a message of raise_exception must be the same.

usage: compare_with_jinja2.py RENDER_TEMPLATES [TEMPLATE_FOLDER...] [--seed N] [--random N]

RENDER_TEMPLATES is the program of tests/jinja. Compares the cases of cases.py, N random ones, and every template
(*.jinja) of the folders with every conversation of conversations.py. Prints what differs, the seed and the counts.
Exit status 0 when nothing differs, and 77 without jinja2.
"""

import argparse
import copy
import datetime
import functools
import glob
import json
import os
import re
import subprocess
import sys
import warnings

try:
    import jinja2
    import jinja2.ext
    import jinja2.sandbox
except ImportError:
    # Debian's package is for Debian's Python, which need not be the first.
    if sys.executable != "/usr/bin/python3" and os.access("/usr/bin/python3", os.X_OK):
        os.execv("/usr/bin/python3", ["/usr/bin/python3", *sys.argv])
    print("skipped: jinja2 is missing (Debian package python3-jinja2)")
    sys.exit(77)

import cases
import conversations
import random_templates

NOW = datetime.datetime(2024, 3, 5, 14, 7, 9)


class GenerationBlock(jinja2.ext.Extension):
    """{% generation %}: prints its body, which has a scope of its own."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        call = self.call_method("print_body")
        return jinja2.nodes.CallBlock(call, [], [], body).set_lineno(line)

    def print_body(self, caller):
        return caller()


class CheckedNamespace(jinja2.utils.Namespace):
    """Refuses names that begin with an underscore."""

    def __init__(*args, **kwargs):
        self, *rest = args
        for name in dict(*rest, **kwargs):
            CheckedNamespace.check(name)
        jinja2.utils.Namespace.__init__(*args, **kwargs)

    def __setitem__(self, name, value):
        CheckedNamespace.check(name)
        jinja2.utils.Namespace.__setitem__(self, name, value)

    @staticmethod
    def check(name):
        if name.startswith("_"):
            raise jinja2.exceptions.SecurityError(name)


class Raised(Exception):
    """raise_exception was called."""


def raise_exception(message):
    raise Raised(message)


def to_json(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def make_environment():
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[GenerationBlock, jinja2.ext.loopcontrols])
    environment.filters["tojson"] = to_json
    environment.globals.update(
        raise_exception=raise_exception, strftime_now=NOW.strftime, dict=lambda *args, **kwargs: dict(*args, **kwargs),
        namespace=CheckedNamespace)
    return environment


ENVIRONMENT = make_environment()


@functools.lru_cache(maxsize=100)
def compiled(template):
    return ENVIRONMENT.from_string(template)


def expected_result(template, variables):
    """The text, or the error: ("text" | "raised" | "error", text)."""
    try:
        text = compiled(template).render(**copy.deepcopy(variables))
        text.encode()  # lone surrogates are no text
        return "text", text
    except Raised as error:
        return "raised", str(error)
    except Exception as error:  # every other way to fail
        return "error", f"{type(error).__name__}: {error}"


# What Python prints for things that are no data: addresses, and names of its own types.
NO_DATA = re.compile(r"<[^<>]* object at 0x|<built-in |<function |<bound method |<class |<Macro |<LoopContext |range\(", re.IGNORECASE)


def agrees(expected, result):
    """Whether they agree."""
    kind, text = expected
    if kind == "text":
        return result.get("text") == text or NO_DATA.search(text)
    return result.get("error") == text if kind == "raised" else "error" in result


def render_all(program, jobs):
    lines = "".join(json.dumps({"template": template, "variables": variables}) + "\n"
                    for _, template, variables in jobs)
    output = subprocess.run([program], input=lines, capture_output=True, text=True, check=True).stdout
    results = [json.loads(line) for line in output.split("\n") if line]
    assert len(results) == len(jobs), "the program did not answer every line"
    return results


def compare(what, program, jobs):
    """Prints what differs; the number of cases that do."""
    counts = {"text": 0, "raised": 0, "error": 0, "differs": 0}
    for (name, template, variables), result in zip(jobs, render_all(program, jobs)):
        expected = expected_result(template, variables)
        if agrees(expected, result):
            counts[expected[0]] += 1
            continue
        counts["differs"] += 1
        print(f"DIFFERS: {name}\n  template: {template!r}\n  jinja2:   {expected}\n  longspan: {result}")
    print(f"{what}: {len(jobs)} renderings: {counts['text']} texts, {counts['raised']} raised errors and "
          f"{counts['error']} other failures alike, {counts['differs']} different")
    return counts["differs"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("folders", nargs="*")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--random", type=int, default=0)
    arguments = parser.parse_intermixed_args()
    warnings.simplefilter("ignore")  # of Python, about the code that jinja2 makes
    print(f"jinja2 {jinja2.__version__}, Python {sys.version.split()[0]}, seed {arguments.seed}")
    differing = compare("cases", arguments.program, cases.all_cases())
    if arguments.random:
        jobs = random_templates.make(arguments.seed, arguments.random)
        differing += compare("random templates", arguments.program, jobs)
    for folder in arguments.folders:
        paths = sorted(glob.glob(os.path.join(folder, "*.jinja")))
        assert paths, f"no templates in {folder}"
        jobs = []
        for path in paths:
            with open(path, encoding="utf-8") as file:
                template = file.read()
            for name, variables in conversations.all_conversations():
                jobs.append((f"{os.path.basename(path)} with {name}", template, variables))
        differing += compare(f"{len(paths)} templates", arguments.program, jobs)
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
