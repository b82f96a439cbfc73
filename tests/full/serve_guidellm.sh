#!/usr/bin/env bash
# guidellm, a load generator that others wrote, runs against the server unmodified, and its report agrees within 5 % with
# what the server says of the same requests in /metrics. No package index: skipped.
# shellcheck source=tests/full/lib/common.sh
source "$(dirname "$0")/lib/common.sh"
packages=(guidellm==0.8.1)

if ! python3 -m pip --no-input install -q --target "$work/packages" "${packages[@]}"; then
  echo "SKIPPED: the load generator cannot be fetched: ${packages[*]}"
  exit 77
fi
PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$work/packages python3 "$root/tests/full/lib/serve_guidellm.py" "$build/longspan" "$model" \
  "$root/tests/goldens/gemma3-dual" "$work" || fail "guidellm"
