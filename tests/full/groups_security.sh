#!/usr/bin/env bash
# Groups without certificates or with those of others are not let in, nor are clients without a key, and the log says so once
# for each; what is let in is encrypted: tests/full/lib/groups_security.py.
# shellcheck source=tests/full/lib/common.sh
source "$(dirname "$0")/lib/common.sh"
PYTHONDONTWRITEBYTECODE=1 python3 "$root/tests/full/lib/groups_security.py" "$build/longspan" "$root/launcher/make-certs" "$work" ||
  fail "security"
