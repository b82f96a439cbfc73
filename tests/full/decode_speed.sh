#!/usr/bin/env bash
# The default model at two threads decodes no slower than llama.cpp in the same run.
# shellcheck source=tests/full/lib/common.sh
source "$(dirname "$0")/lib/common.sh"
"$root/bench/compare_llama_cpp" --model "$model" --output "$work/result.json"
python3 - "$work/result.json" <<'PYTHON'
import json, sys
result = json.load(open(sys.argv[1]))
ratio = result["decode_ratio"]
print(f"decode: {ratio:.2f} times llama.cpp's tokens per second")
sys.exit(ratio < 1)
PYTHON
