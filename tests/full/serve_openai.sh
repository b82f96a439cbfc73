#!/usr/bin/env bash
# The openai package, unmodified, gets what it expects of a server: tests/full/lib/serve_openai.py says what. No package
# index: skipped.
# shellcheck source=tests/full/lib/common.sh
source "$(dirname "$0")/lib/common.sh"
packages=(openai==3.54.0 jsonschema==4.26.0)

if ! python3 -m pip --no-input install -q --target "$work/packages" "${packages[@]}"; then
  echo "SKIPPED: the client cannot be fetched: ${packages[*]}"
  exit 77
fi
PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$work/packages python3 "$root/tests/full/lib/serve_openai.py" "$build/longspan" "$model" \
  "$root/tests/goldens" || fail "the openai package"
