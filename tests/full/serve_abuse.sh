#!/usr/bin/env bash
# A server under ten times the requests that it can run goes on at its pace beside 2,000 idle connections, 50 clients that
# read a byte a second, 500 that vanish in the midst of their answers, and requests of every wrong shape:
# tests/full/lib/serve_abuse.py says what must hold, and prints throughput and memory with and without them.
# shellcheck source=tests/full/lib/common.sh
source "$(dirname "$0")/lib/common.sh"
PYTHONDONTWRITEBYTECODE=1 python3 "$root/tests/full/lib/serve_abuse.py" "$build/longspan" "$model" || fail "the server under abuse"
