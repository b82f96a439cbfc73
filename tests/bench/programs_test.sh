#!/usr/bin/env bash
# The benchmarks run, report what they should and refuse what they cannot do. No time is looked at.
# usage: programs_test.sh BUILD_FOLDER
set -euo pipefail
build=$1
root=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../..
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "FAILED: $*"; exit 1; }

# names FILE NAME...: the results in a JSON file, in order; each has a rate.
names() {
  python3 - "$@" <<'PYTHON' || fail "$1"
import json, sys
results = json.load(open(sys.argv[1]))["results"]
found = [f"{r['name']}/threads={r['threads']}" for r in results]
assert found == sys.argv[2:], found
for r in results:
    assert r["rate"] > 0 and r["unit"], r
    assert r["name"].startswith("roof/") or r["seconds"] > 0, r
    assert ("communication" in r) == ("tp=" in r["name"]), r
PYTHON
}

"$build/bench/longspan_kernel_bench" --rounds 1 --threads 1 --footprint 4M --json "$work/kernels.json" \
  --filter 'f32 FMA|linear/Q4_K/640x2048/rows=1/|linear/F32/640x2048/rows=8/|decode/.*=256/heads=4:1/.*=8192|prefill/.*=64/.*/rows=512/.*=0'
names "$work/kernels.json" 'roof/f32 FMA/threads=1' linear/F32/640x2048/rows=8/threads=1 linear/Q4_K/640x2048/rows=1/threads=1 \
  attention/decode/head_dim=256/heads=4:1/context=8192/threads=1 attention/prefill/head_dim=64/heads=4:1/rows=512/prefix=0/threads=1

"$build/tools/make_model" --out "$work/model.gguf" --family gemma3 --layers 2 --pattern 2 --window 64
cases=(--model "$work/model.gguf" --rounds 1 --threads 1 --batches "1,3" --depths "0,200" --prefills 100 --chunk-tokens 64)
"$build/bench/longspan_model_bench" "${cases[@]}" --json "$work/model.json"
names "$work/model.json" prefill/tokens=100/threads=1 decode/batch={1,3}/depth=0/threads=1 decode/batch={1,3}/depth=200/threads=1

"$build/bench/longspan_tokenizer_bench" "$root"/tests/goldens/{gguf-llama/q8_0.gguf,llama2-mha} --rounds 1 \
  --text "$root/ARCHITECTURE.md" --json "$work/tokenizers.json"
names "$work/tokenizers.json" {q8_0.gguf,llama2-mha}/{load,encode,decode}/threads=1
code=0; "$build/bench/longspan_tokenizer_bench" "$work/model.gguf" --text "$root/ARCHITECTURE.md" 2>"$work/err" || code=$?
[ $code -eq 1 ] && grep -q 'model.gguf: holds no tokenizer' "$work/err" || fail "a model without a vocabulary: $code"

threads=$(nproc); threads=$((threads < 2 ? threads : 2))
"$root/launcher/local-mpirun" -n 2 "$build/bench/longspan_model_bench" "${cases[@]}" --json "$work/group.json" --filter 'batch=1/'
names "$work/group.json" decode/batch=1/depth={0,200}/tp=2/kvp=1/threads="$threads" \
  decode/batch=1/depth={0,200}/tp=1/kvp=2/threads="$threads"

code=0; "$build/bench/longspan_kernel_bench" --filter 'no such' || code=$?
[ $code -eq 2 ] || fail "a filter without a match ends with $code"
code=0; "$build/bench/longspan_kernel_bench" --filter '(' || code=$?
[ $code -eq 2 ] || fail "a wrong filter ends with $code"
echo "passed"
