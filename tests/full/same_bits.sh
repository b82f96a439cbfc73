#!/usr/bin/env bash
# Equal tokens and logits, bit for bit, on every layout of ranks, alone or in a batch, for every chunk size and number
# of threads: the default model with a prompt of 3,951 tokens, and a small model that tensor parallelism can split.
# shellcheck source=tests/full/lib/common.sh
source "$(dirname "$0")/lib/common.sh"
goldens=$root/tests/goldens

python3 - "$goldens" "$work" <<'PYTHON'
import json, random, sys
goldens, work = sys.argv[1:]
case = json.load(open(f"{goldens}/default-model/greedy.json"))[-1]
prompt = case["prompt_token_ids"]
assert len(prompt) == 3951
json.dump(prompt, open(f"{work}/prompt.json", "w"))
rng = random.Random(5)
others = [{"token_ids": [2] + [rng.randrange(300, 20000) for _ in range(rng.choice([1, 30, 200, 700]))],
           "max_tokens": rng.choice([1, 10, 60])} for _ in range(8)]
requests = others[:4] + [{"token_ids": prompt, "max_tokens": 16, "ignore_eos": True}] + others[4:]
open(f"{work}/batch.jsonl", "w").write("".join(json.dumps(r) + "\n" for r in requests))
PYTHON

options=(--model "$model" --token-ids "@$work/prompt.json" --max-tokens 16 --ignore-eos)
generate 1 "${options[@]}" --threads 2 >"$work/expected.json"
for kvp in 2 4 8; do
  generate $kvp "${options[@]}" --tp 1 --kvp $kvp >"$work/actual.json"
  same_result "$work/expected.json" "$work/actual.json" "default model, tp 1, kvp $kvp"
done
for chunk in 64 2048; do
  generate 1 "${options[@]}" --chunk-tokens $chunk >"$work/actual.json"
  same_result "$work/expected.json" "$work/actual.json" "default model, chunks of $chunk"
done
generate 1 "${options[@]}" --threads 1 >"$work/actual.json"
same_result "$work/expected.json" "$work/actual.json" "default model, one thread"
for ranks in 1 2; do
  generate $ranks --model "$model" --prompt-file "$work/batch.jsonl" | sed -n 5p >"$work/actual.json"
  same_result "$work/expected.json" "$work/actual.json" "default model, in a batch with 8 others, $ranks ranks"
done

python3 - "$goldens" "$work" <<'PYTHON'
import json, random, sys
rng = random.Random(6)
json.dump([1] + [rng.randrange(4, 320) for _ in range(2500)], open(f"{sys.argv[2]}/prompt.json", "w"))
PYTHON
options=(--model "$goldens/llama3-gqa" --token-ids "@$work/prompt.json" --max-tokens 32 --ignore-eos)
generate 1 "${options[@]}" >"$work/expected.json"
for grid in "1 2" "1 4" "1 8" "2 1" "2 2" "4 1" "4 2"; do
  read -r tp kvp <<<"$grid"
  generate $((tp * kvp)) "${options[@]}" --tp "$tp" --kvp "$kvp" >"$work/actual.json"
  same_result "$work/expected.json" "$work/actual.json" "llama3-gqa, tp $tp, kvp $kvp"
done

# Inner dimensions that 8 leaves of whole groups of 32 do not divide: hidden 896, FFN 3,696.
"$build/tools/make_model" --out "$work/uneven.gguf" --family llama --layers 3 --hidden 896 --heads 14 --kv-heads 2 --head-dim 64 \
  --ffn 3696 --vocab 2048 --context 8192 --format q8_0 --seed 3
options=(--model "$work/uneven.gguf" --token-ids "5,6,7,8,9,10,11,12,13,14,15,16" --max-tokens 100 --ignore-eos)
generate 1 "${options[@]}" >"$work/expected.json"
for grid in "1 2" "2 1" "2 2" "1 8" "2 4"; do
  read -r tp kvp <<<"$grid"
  generate $((tp * kvp)) "${options[@]}" --tp "$tp" --kvp "$kvp" >"$work/actual.json"
  same_result "$work/expected.json" "$work/actual.json" "hidden 896, FFN 3,696, tp $tp, kvp $kvp"
done
