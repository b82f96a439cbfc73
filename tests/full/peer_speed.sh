#!/usr/bin/env bash
# At two threads nothing is slower than llama.cpp in the same run: the default model and, with random weights, the shape
# of a Llama of 1B in BF16, Q8_0 and Q4_K. The table shows which targets are reached.
# shellcheck source=tests/full/lib/common.sh
source "$(dirname "$0")/lib/common.sh"
"$root/bench/compare_llama_cpp" --model "$model" --json "$work/default.json"
"$root/bench/compare_llama_cpp" --llama-1b bf16,q8_0,q4_k --rounds 1 --json "$work/large.json"
python3 - "$work/default.json" "$work/large.json" <<'PYTHON'
import json, sys
slower = [r for path in sys.argv[1:] for r in json.load(open(path))["results"]
          if r["against"].startswith("llama.cpp") and r["ratio"] < 1]
for r in slower:
    print(f"slower than {r['against']}: {r['model']}, {r['measurement']}: {r['ratio']:.2f} times its tokens per second")
sys.exit(len(slower) > 0)
PYTHON
