#!/usr/bin/env bash
# Memory that loading takes falls with the number of ranks: a rank of four at most 0.3 of one rank alone, and one rank
# at most 1.15 of the file.
# shellcheck source=tests/full/lib/common.sh
source "$(dirname "$0")/lib/common.sh"

for format in q8_0 q4_k bf16; do
  "$build/tools/make_model" --out "$work/model.gguf" --family llama --layers 12 --hidden 2048 --heads 16 --kv-heads 8 --head-dim 128 \
    --ffn 8192 --vocab 64000 --context 8192 --format $format --seed 1
  file=$(stat -c %s "$work/model.gguf")
  one=$("$root/launcher/local-mpirun" -n 1 "$build/tools/load_memory" "$work/model.gguf" | awk '{print $3}')
  four=$("$root/launcher/local-mpirun" -n 4 "$build/tools/load_memory" "$work/model.gguf" | awk '$3 > most {most = $3} END {print most}')
  python3 - $format "$file" "$one" "$four" <<'PYTHON'
import sys
name, file, one, four = sys.argv[1], *map(float, sys.argv[2:])
print(f"{name}: file {file / 1e6:.0f} MB; one rank {one / 1e6:.0f} MB = {one / file:.3f} of the file; "
      f"largest of four {four / 1e6:.0f} MB = {four / one:.3f} of one rank")
sys.exit(not (one <= 1.15 * file and four <= 0.3 * one))
PYTHON
  rm "$work/model.gguf"
done
