#!/usr/bin/env bash
# Broken model files of every kind: each is refused with exit status 1 and a message that names what is wrong, or runs
# where it is still a valid file; never a signal, a hang, a NaN or memory that the file does not explain. And a file
# whose damage only the second of two ranks reads ends both. More seeds: tests/full/lib/broken_models.py.
# shellcheck source=tests/full/lib/common.sh
source "$(dirname "$0")/lib/common.sh"

PYTHONDONTWRITEBYTECODE=1 python3 "$root/tests/full/lib/broken_models.py" "$build/longspan" "$build/tools/make_model" \
  "$root/tests/goldens" "$work" 1

# The second of two ranks holds the last half of the vocabulary.
"$build/tools/make_model" --out "$work/model.gguf" --family llama --vocab 64 --format f32
PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$root/tests/full/lib python3 - "$work/model.gguf" <<'PYTHON'
import pathlib, sys
import damage
path = pathlib.Path(sys.argv[1])
model = damage.Gguf(path.read_bytes())
offset, size = model.bytes_of("token_embd.weight")
model.data = damage.patch(model.data, offset + size - 4, b"\xff" * 4)
path.write_bytes(model.build())
PYTHON
status=0
timeout 20 "$root/launcher/local-mpirun" -n 2 "$build/longspan" generate --model "$work/model.gguf" --token-ids 1,2,3 --max-tokens 2 \
  >"$work/out" 2>"$work/err" || status=$?
cat "$work/err"
[ $status -eq 1 ] || fail "two ranks ended with $status"
[ ! -s "$work/out" ] || fail "two ranks printed $(cat "$work/out")"
grep -q "token_embd.weight has a value that is not finite in row 63" "$work/err" || fail "two ranks do not name the tensor"
