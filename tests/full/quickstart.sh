#!/usr/bin/env bash
# launcher/quickstart ends with the answer of a group of two ranks and an account of it; run again, it answers within 10 s.
# shellcheck source=tests/full/lib/common.sh
source "$(dirname "$0")/lib/common.sh"

"$root/launcher/quickstart" >"$work/first" 2>"$work/first.err" || fail "quickstart: $(tail -n 3 "$work/first.err")"
begin=$(date +%s.%N)
"$root/launcher/quickstart" >"$work/second" 2>"$work/second.err" || fail "quickstart, again: $(tail -n 3 "$work/second.err")"
seconds=$(python3 -c 'import sys, time; print(f"{time.time() - float(sys.argv[1]):.1f}")' "$begin")
cmp "$work/first" "$work/second" || fail "two runs gave two answers"
grep -q France "$work/second" || fail "the answer is: $(cat "$work/second")"
grep -q "2 ranks share the model" "$work/second.err" || fail "no account of the group"
cat "$work/second" "$work/second.err"
echo "answered again after $seconds s"
python3 -c 'import sys; sys.exit(float(sys.argv[1]) > 10)' "$seconds" || fail "that is more than 10 s"
