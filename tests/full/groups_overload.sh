#!/usr/bin/env bash
# Ten times what two groups of unequal size can hold, in requests of 1,000 to 100,000 tokens: no rank is ever promised more than
# it has, large requests get their turn, and who is sent away is told when to come back: tests/full/lib/groups_overload.py.
# shellcheck source=tests/full/lib/common.sh
source "$(dirname "$0")/lib/common.sh"
"$build/tools/make_model" --out "$work/model.gguf" --family llama --layers 1 --hidden 32 --heads 1 --kv-heads 1 --head-dim 16 \
  --ffn 32 --vocab 256 --context 131072
PYTHONDONTWRITEBYTECODE=1 python3 "$root/tests/full/lib/groups_overload.py" "$build/longspan" "$work/model.gguf" "$work/decisions" ||
  fail "overload"
