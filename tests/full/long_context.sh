#!/usr/bin/env bash
# Long contexts: a prompt of 65,536 tokens has equal digests on one rank and on eight, and a token decoded over 1,048,576
# tokens of KV is equal on every layout and close to a float64 reference, in every family.
# shellcheck source=tests/full/lib/common.sh
source "$(dirname "$0")/lib/common.sh"

"$build/tools/make_model" --out "$work/long.gguf" --family gemma3 --layers 2 --hidden 256 --heads 4 --kv-heads 1 --head-dim 64 \
  --ffn 512 --vocab 1024 --context 1100000 --window 1024 --pattern 2 --format f32 --seed 7
"$build/tools/long_decode" "$work/long.gguf" 1048576 1e-4

# Every part that families differ in, over a context of 20,000 tokens.
for family in llama qwen2 qwen3 gemma2; do
  "$build/tools/make_model" --out "$work/$family.gguf" --family "$family" --layers 2 --hidden 128 --heads 4 --kv-heads 1 \
    --head-dim 32 --ffn 256 --vocab 512 --context 32768 --window 1024 --pattern 2 --format f32 --seed 8
  "$build/tools/long_decode" "$work/$family.gguf" 20000 1e-4
done

python3 - "$work" <<'PYTHON'
import json, random, sys
rng = random.Random(7)
json.dump([rng.randrange(1024) for _ in range(65536)], open(f"{sys.argv[1]}/prompt.json", "w"))
PYTHON
options=(--model "$work/long.gguf" --token-ids "@$work/prompt.json" --max-tokens 4 --ignore-eos --chunk-tokens 2048)
generate 1 "${options[@]}" --tp 1 --kvp 1 >"$work/expected.json"
generate 8 "${options[@]}" --tp 1 --kvp 8 >"$work/actual.json"
same_result "$work/expected.json" "$work/actual.json" "65,536 tokens, tp 1, kvp 8"
