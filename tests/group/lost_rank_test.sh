#!/usr/bin/env bash
# A rank that is killed, or stopped, in the middle of a generation: the job fails within 10 s, names the rank and its
# host, says where the other ranks were, and leaves no process.
# usage: lost_rank_test.sh LONGSPAN
set -uo pipefail
longspan=$(realpath "$1")
tests=$(realpath "$(dirname "${BASH_SOURCE[0]}")/..")
work=$(mktemp -d)
host=$(uname -n)
pids=() failures=0
trap 'kill -KILL ${pids[@]+"${pids[@]}"} 2>/dev/null; rm -rf "$work"' EXIT
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
while read -r name; do unset "$name"; done < <(compgen -v LONGSPAN_)

# Far more than can be done before the rank is lost.
for ((i = 0; i < 3000; ++i)); do echo '{"token_ids": [1, 2, 3], "max_tokens": 2000, "ignore_eos": true}'; done >"$work/long.jsonl"

fail() {
  echo "FAILED: $what: $*"
  echo "  stderr: $(tail -c 3000 "$work/err")"
  failures=$((failures + 1))
}
says() { grep -q -E -e "$1" "$work/err" || fail "standard error lacks '$1'"; }
alive() { [ -e "/proc/$1" ] && [ "$(awk '/^State:/ { print $2 }' "/proc/$1/status" 2>/dev/null)" != Z ]; }
rank_of() { tr '\0' '\n' <"/proc/$1/environ" 2>/dev/null | sed -n 's/^OMPI_COMM_WORLD_RANK=//p'; }

# lose RANK SIGNAL RANKS MPIRUN...
lose() {
  local victim=$1 signal=$2 ranks=$3 job status begin seconds rank pid
  shift 3
  what="SIG$signal of rank $victim of $ranks under $(basename "$1")"
  : >"$work/err"
  "$@" -n "$ranks" "$longspan" generate --model "$tests/goldens/llama3-gqa" --prompt-file "$work/long.jsonl" --threads 1 \
    >"$work/out" 2>"$work/err" </dev/null &
  job=$!
  for ((i = 0; i < 600; ++i)); do grep -q "done in" "$work/err" && break; sleep 0.1; done
  sleep 0.5
  pids=("$job")
  local -A by_rank=()
  for pid in $(<"/proc/$job/task/$job/children"); do
    rank=$(rank_of "$pid")
    [ -z "$rank" ] || by_rank[$rank]=$pid
  done
  pids+=("${by_rank[@]}")
  [ "${#by_rank[@]}" -eq "$ranks" ] || { fail "found ${#by_rank[@]} ranks"; return; }

  begin=$EPOCHREALTIME
  kill -s "$signal" "${by_rank[$victim]}"
  for ((i = 0; i < 200; ++i)); do alive "$job" || break; sleep 0.1; done
  seconds=$(awk -v a="$begin" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f", b - a }')
  alive "$job" && fail "has not ended after $seconds s" && kill -KILL "$job"
  wait "$job" 2>/dev/null
  status=$?
  for rank in "${!by_rank[@]}"; do
    alive "${by_rank[$rank]}" && fail "rank $rank is left"
  done
  [ "$status" -ne 0 ] || fail "exit status 0"
  awk -v s="$seconds" 'BEGIN { exit s <= 10 ? 0 : 1 }' || fail "took $seconds s"
  says "^longspan: .*lost rank $victim on $host \(process ${by_rank[$victim]}\)"
  for ((rank = 0; rank < ranks; ++rank)); do
    # In a step, or done with its part of it.
    [ "$rank" -eq "$victim" ] ||
      says "^longspan: rank $rank \($host\): (step|waiting for a batch, after step) [0-9]+.*, for [0-9.]+ s"
  done
  echo "$what: status $status after $seconds s"
  pids=()
}

for signal in KILL STOP; do
  for victim in 1 0; do
    lose $victim $signal 2 mpirun --oversubscribe
    lose $victim $signal 4 "$tests/../launcher/local-mpirun"
  done
done

[ "$failures" -eq 0 ] && echo "all as expected"
[ "$failures" -eq 0 ]
