#!/usr/bin/env bash
# Groups without certificates or with those of others are not let in, nor are clients without a key, and the log says so once
# for each; what is let in is encrypted: tests/full/lib/groups_security.py. Messages with the token of a handoff that is over are
# refused likewise.
# shellcheck source=tests/full/lib/common.sh
source "$(dirname "$0")/lib/common.sh"
PYTHONDONTWRITEBYTECODE=1 python3 "$root/tests/full/lib/groups_security.py" "$build/longspan" "$root/launcher/make-certs" "$work" ||
  fail "security"
echo "messages with KV are sent again when their handoff is over"
"$build/tests/group/group_handoff_faults_test" --gtest_filter='*WhatIsReplayed*' || fail "replayed messages"
