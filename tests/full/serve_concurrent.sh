#!/usr/bin/env bash
# 32 streams at once, with prompts of 16 to 8,000 tokens, give each the tokens that it gives alone, on one rank and with
# each sequence's KV on two: tests/full/lib/serve_concurrent.py.
# shellcheck source=tests/full/lib/common.sh
source "$(dirname "$0")/lib/common.sh"
PYTHONDONTWRITEBYTECODE=1 python3 "$root/tests/full/lib/serve_concurrent.py" "$build/longspan" "$model" || fail "streams at once"
