#!/usr/bin/env bash
# Chat templates render byte for byte as with jinja2: random ones, and every published one that llama.cpp's source
# carries, each with every conversation of tests/jinja. LONGSPAN_CHAT_TEMPLATES names a folder of *.jinja files in place
# of the published ones.
# shellcheck source=tests/full/lib/common.sh
source "$(dirname "$0")/lib/common.sh"
compare() { "$root/tests/jinja/compare_with_jinja2.py" "$build/tests/jinja/render_templates" "$@" || fail "templates differ from jinja2"; }

compare --random 5000 --seed 4

folder=${LONGSPAN_CHAT_TEMPLATES:-}
if [ -z "$folder" ]; then
  version=$(sed -n 's/^version=//p' "$root/bench/build_llama_cpp")
  python3 -m pip download -q --no-binary :all: --no-deps -d "$work" "llama-cpp-python==$version" || fail "cannot fetch llama-cpp-python $version"
  tar -C "$work" -xf "$work"/llama_cpp_python-*.tar.gz --wildcards '*/models/templates/*.jinja'
  folder=$(dirname "$(find "$work" -name '*.jinja' -print -quit)")
fi
compare "$folder"
