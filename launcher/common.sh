# Shared by the scripts; sourced, not run. Expects `set -euo pipefail` and $program, the name to prefix messages with.
# shellcheck shell=bash

say() { echo "${program:?}: $*" >&2; }
die() { say "$*"; exit 1; }

# need_value OPTION COUNT: ends with status 2 unless OPTION is followed by a value; COUNT is how many arguments are left.
need_value() { [ "$2" -ge 2 ] || { say "$1 needs a value; see $program --help"; exit 2; }; }

models_folder() { echo "${LONGSPAN_CACHE:-${XDG_CACHE_HOME:-${HOME:?is not set: set LONGSPAN_CACHE}/.cache}/longspan}/models"; }

# Passes on ninja's "[done/total] ..." lines sparsely, one each 10 %, and drops the rest.
sparse_progress() {
  awk -v program="$program" '
    match($0, /^\[[0-9]+\/[0-9]+\]/) {
      split(substr($0, 2, RLENGTH - 2), steps, "/")
      decile = int(10 * steps[1] / steps[2])
      if (steps[2] >= 10 && decile > shown) { shown = decile; printf "%s: built %d of %d\n", program, steps[1], steps[2]; fflush() }
    }' >&2
}

# build_targets PRESET TARGET...: configures the preset where needed and builds the targets, with ninja's own progress
# on a terminal and sparse lines elsewhere. The whole output is in build/PRESET.log; its end is shown on failure.
build_targets() {
  local preset=$1 log="build/$1.log" jobs
  shift
  jobs=${CMAKE_BUILD_PARALLEL_LEVEL:-$(nproc)}
  mkdir -p build
  if [ ! -f "build/$preset/build.ninja" ]; then
    say "configuring the build (preset $preset)"
    cmake --preset "$preset" >"$log" 2>&1 || { tail -n 40 "$log" >&2; say "cmake --preset $preset failed; all of its output is in $log"; return 1; }
  fi
  if [ -t 2 ]; then
    cmake --build --preset "$preset" -j "$jobs" --target "$@" >&2 || { say "the build failed; the compiler's messages are above"; return 1; }
  elif ! cmake --build --preset "$preset" -j "$jobs" --target "$@" 2>&1 | tee "$log" | sparse_progress; then
    grep -A 30 -m 3 -E '^FAILED:|error:|Error' "$log" >&2 || tail -n 40 "$log" >&2
    say "building $* failed; all of the output is in $log"
    return 1
  fi
}
