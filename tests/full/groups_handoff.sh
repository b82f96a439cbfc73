#!/usr/bin/env bash
# Prompts computed by one group, their KV handed to another that goes on, give what one process gives; for the default model
# and, with the KV cut differently on either side, for a small one: tests/full/lib/groups_handoff.py.
# shellcheck source=tests/full/lib/common.sh
source "$(dirname "$0")/lib/common.sh"
PYTHONDONTWRITEBYTECODE=1 python3 "$root/tests/full/lib/groups_handoff.py" "$build/longspan" "$model" || fail "handoff"
