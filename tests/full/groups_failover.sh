#!/usr/bin/env bash
# 20 streams over three groups of the default model, while a decode rank is killed, the prefill group is killed, a group is
# stopped and goes on, a link is cut, and the coordinator restarts: tests/full/lib/groups_failover.py.
# shellcheck source=tests/full/lib/common.sh
source "$(dirname "$0")/lib/common.sh"
PYTHONDONTWRITEBYTECODE=1 python3 "$root/tests/full/lib/groups_failover.py" "$build/longspan" "$model" || fail "failover"
