# Shared by the scripts of tests/full; sourced, not run.
# shellcheck shell=bash
set -euo pipefail
root=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../../..
build=${LONGSPAN_BUILD_DIR:-$root/build/cpu}
model=${LONGSPAN_TEST_MODEL:-$("$root/launcher/fetch-model")}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# generate RANKS OPTION...: one JSON object on stdout, from a group of so many ranks.
generate() {
  local ranks=$1
  shift
  if [ "$ranks" -eq 1 ]; then
    "$build/longspan" generate --json "$@"
  else
    "$root/launcher/local-mpirun" -n "$ranks" "$build/longspan" generate --json "$@"
  fi
}

# field NAME FILE: that field of a JSON object.
field() { python3 -c 'import json, sys; print(json.dumps(json.load(open(sys.argv[2]))[sys.argv[1]]))' "$1" "$2"; }

fail() { echo "FAILED: $*"; exit 1; }

# same_result EXPECTED ACTUAL WHAT: equal token ids and digests.
same_result() {
  local name
  for name in token_ids logits_digest; do
    [ "$(field $name "$1")" == "$(field $name "$2")" ] || fail "$3: $name differs"
  done
  echo "same bits: $3, digest $(field logits_digest "$2")"
}
