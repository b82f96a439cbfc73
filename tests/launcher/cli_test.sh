#!/usr/bin/env bash
# The program as a user runs it: exit statuses, messages and results, alone and as ranks under mpirun.
# usage: cli_test.sh LONGSPAN
set -uo pipefail
longspan=$(realpath "$1")
tests=$(realpath "$(dirname "${BASH_SOURCE[0]}")/..")
mpirun=$tests/../launcher/local-mpirun
folder=$tests/goldens/llama3-gqa
gguf=$tests/goldens/gguf-llama/q4_k.gguf
ids=@$tests/goldens/llama3-gqa/tokens.npy
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
out=$work/out err=$work/err
failures=0
# Settings of whoever runs the tests are not part of them.
while read -r name; do unset "$name"; done < <(compgen -v LONGSPAN_)

fail() {
  echo "FAILED: $*"
  echo "  stdout: $(head -c 2000 "$out")"
  echo "  stderr: $(head -c 2000 "$err")"
  failures=$((failures + 1))
}
# expect STATUS COMMAND...: runs it and compares its exit status
expect() {
  local expected=$1 status
  shift
  what="$*"
  "$@" >"$out" 2>"$err" </dev/null
  status=$?
  [ "$status" -eq "$expected" ] || fail "$what: exit status $status, expected $expected"
}
says() { grep -q -F -e "$1" "$err" || fail "$what: standard error lacks '$1'"; }
prints() { grep -q -F -e "$1" "$out" || fail "$what: standard output lacks '$1'"; }
silent() { [ ! -s "$err" ] || fail "$what: standard error is not empty"; }
one_line_error() { [ "$(wc -l <"$err")" -eq 1 ] && grep -q '^longspan: ' "$err" || fail "$what: not one line of error"; }
field() { grep -o "\"$1\":[^]}]*[]}]*" "$out" | head -n 1; } # "name": and what follows, enough to compare

# Usage
expect 2 "$longspan"
says "Commands:"
expect 0 "$longspan" --help
prints "tokenize"
expect 0 "$longspan" --version
prints "commit"
prints "Open MPI"
for command in generate serve logits tokenize inspect; do
  expect 0 "$longspan" "$command" --help
  prints "--config"
done
expect 2 "$longspan" server
says "unknown command 'server'"
says "generate, serve, coordinator, worker, logits, tokenize, inspect"
one_line_error
expect 2 "$longspan" generat
says "the nearest is generate"
expect 2 "$longspan" generate --model "$gguf" --tokens-ids 1
says "unknown option --tokens-ids; the nearest is --token-ids"
one_line_error
expect 2 "$longspan" generate --model "$gguf" --token-ids 1 --isa avx51
says "the nearest is avx512"
expect 2 "$longspan" generate --model "$gguf" --token-ids 1 --kv-dtype int8
says "--kv-dtype: 'int8' is not one of f32, bf16"
expect 2 "$longspan" generate --model "$gguf" --token-ids 1 --top-p 1.5
says "top_p"
expect 2 "$longspan" generate --model "$gguf" --token-ids 1,x
says "'x' is not a token id"
expect 2 "$longspan" generate --model "$gguf" --token-ids 1 --tp 2
says "valid here: --tp 1 --kvp 1"
one_line_error
expect 2 "$longspan" generate --model "$gguf" --token-ids 1 --rank-invariant off
expect 2 "$longspan" generate --model "$gguf"
expect 2 "$longspan" generate --token-ids 1
says "--model"
expect 2 "$longspan" logits --model "$gguf" --token-ids 1
says "--output"

# Failures
expect 1 "$longspan" generate --model /nonexistent.gguf --token-ids 1
says "/nonexistent.gguf"
one_line_error
expect 1 "$longspan" generate --model "$gguf" --token-ids 1 --device cuda
says "this build has no CUDA backend"
expect 1 "$longspan" generate --model "$gguf" --token-ids 999999
says "999999"
one_line_error
expect 1 "$longspan" generate --model "$gguf" --token-ids "$ids" --max-tokens 100000
says "largest output"
expect 1 "$longspan" generate --model "$gguf" --prompt-file /nonexistent.txt
cp -r "$tests/goldens/qwen2-bias" "$work/unknown"
chmod -R u+w "$work/unknown"
sed -i 's/"qwen2"/"qwen1"/' "$work/unknown/config.json"
expect 1 "$longspan" generate --model "$work/unknown" --token-ids 1
says "qwen1"
one_line_error
expect 1 env OMPI_COMM_WORLD_RANK=0 "$longspan" generate --model "$gguf" --token-ids 1
says "OMPI_COMM_WORLD_SIZE"
expect 1 bash -c '"$0" inspect "$1" >/dev/full' "$longspan" "$gguf"
says "cannot write to standard output"

# Commands without a group
expect 0 "$longspan" inspect "$gguf"
prints "family       llama"
expect 0 "$longspan" inspect "$gguf" --json --memory 1G
prints '"largest_context"'
expect 0 "$longspan" tokenize --model "$folder" --text "Memory decides concurrency; bandwidth decides speed."
prints "[1,293,80,270,92,289,276,82,81,306,85,263,305,30,224,304,308,307,289,278,83,311,17]"
expect 0 "$longspan" tokenize --model "$folder" --text "speed." --no-special
[[ $(<"$out") != "[1,"* ]] || fail "$what: BOS although --no-special"
printf 'first line\n\nthird "line"\n' >"$work/lines.txt"
expect 0 "$longspan" tokenize --model "$folder" --file "$work/lines.txt"
[ "$(wc -l <"$out")" -eq 3 ] || fail "$what: not a line for each line"
cp "$out" "$work/ids.txt"
expect 0 "$longspan" tokenize --model "$folder" --decode --file "$work/ids.txt"
[ "$(<"$out")" = $'"first line"\n""\n"third \\"line\\""' ] || fail "$what: does not give back what was encoded"
expect 1 "$longspan" tokenize --model "$folder" --decode --text "[1, 100000]"

# Generation
generate=("$longspan" generate --model "$folder" --ignore-eos)
expect 0 "${generate[@]}" --prompt "The cache grows" --max-tokens 12
says "done in"
[ -s "$out" ] || fail "$what: no text"
cp "$out" "$work/text"
expect 0 "${generate[@]}" --prompt "The cache grows" --max-tokens 12 --json --kv-bytes 4M
silent
for name in text prompt_token_ids token_ids finish_reason logits_digest usage timing group; do prints "\"$name\":"; done
prints '"finish_reason":"length"'
prints '"completion_tokens":12'
cp "$out" "$work/alone.json"
expect 0 "${generate[@]}" --token-ids "$ids" --max-tokens 8 --account
says "weights"
says "Numerics: block 64"
printf 'max-tokens: 3\nseed: 5\n' >"$work/options.yaml"
expect 0 env LONGSPAN_MODEL="$folder" "$longspan" generate --config "$work/options.yaml" --token-ids 5,6 --json \
  --ignore-eos
prints '"completion_tokens":3'

# Chat: the golden's template begins with BOS.
expect 0 "$longspan" tokenize --model "$folder" --text $'[user] Who decides?\n[assistant]'
chat_ids=$(<"$out")
expect 0 "${generate[@]}" --chat --prompt "Who decides?" --max-tokens 12 --json --kv-bytes 4M
silent
prints "\"prompt_token_ids\":$chat_ids"
expect 2 "$longspan" generate --model "$folder" --chat --token-ids 1
expect 0 "$longspan" generate --model "$gguf" --chat --prompt "Who decides?" --max-tokens 2 --kv-bytes 4M
says "no chat template"
printf '%s\n' '{"messages": [{"role": "user", "content": "Who decides?"}], "max_tokens": 1}' \
  '{"messages": [{"role": "user"}]}' '{"prompt": "Who decides?", "max_tokens": 1, "logprobs": 1}' >"$work/chat.jsonl"
expect 1 "$longspan" generate --model "$folder" --prompt-file "$work/chat.jsonl" --chat
sed -n 1p "$out" | grep -q -F "\"prompt_token_ids\":$chat_ids" || fail "$what: messages are not the template's"
sed -n 2p "$out" | grep -q -F 'messages[0] has no' || fail "$what: the wrong message is not refused"
sed -n 3p "$out" | grep -q -F "\"prompt_token_ids\":$chat_ids" || fail "$what: a prompt is not a message of the user"
sed -n 3p "$out" | grep -q -F '"top_logprobs":[{"id":' || fail "$what: no log-probabilities"

# Log-probabilities
expect 2 "$longspan" generate --model "$folder" --prompt "a" --logprobs 3
says "--json"
expect 2 "$longspan" generate --model "$folder" --prompt "a" --json --logprobs 21
says "--logprobs"
expect 0 "${generate[@]}" --prompt "The cache grows" --max-tokens 12 --json --kv-bytes 4M --logprobs 2 --temperature 2 --seed 7
[ "$(grep -o '"top_logprobs":\[' "$out" | wc -l)" -eq 12 ] || fail "$what: not log-probabilities for each token"
grep -q '"bytes":\[[0-9]' "$out" || fail "$what: no bytes"
sed 's/.*"logprobs"://; s/"usage".*//' "$out" >"$work/logprobs"

# A batch: in order, one object each, a refused request among them.
printf '%s\n' '{"prompt": "The cache grows", "max_tokens": 12, "ignore_eos": true}' \
  '{"token_ids": [5, 6, 7], "max_tokens": 3, "ignore_eos": true}' \
  '{"token_ids": [5], "max_tokens": 1000000}' \
  '{"token_ids": [8, 9], "max_tokens": 20, "temperature": 1, "seed": 3, "ignore_eos": true}' >"$work/batch.jsonl"
expect 1 "$longspan" generate --model "$folder" --prompt-file "$work/batch.jsonl"
says "1 of 4 requests were refused"
[ "$(wc -l <"$out")" -eq 4 ] || fail "$what: not an object for each request"
sed -n 2p "$out" | grep -q '"prompt_token_ids":\[5,6,7\]' || fail "$what: the second object is not the second request"
sed -n 3p "$out" | grep -q '^{"error"' || fail "$what: the third object is no error"
head -n 1 "$out" | grep -o '"logits_digest":"[0-9a-f]*"' >"$work/first"
grep -o '"logits_digest":"[0-9a-f]*"' "$work/alone.json" | cmp - "$work/first" ||
  fail "$what: a batch changes the logits of a request"
printf '{"prompt": "a"}\n{"prompt": "b", "max_token": 1}\n' >"$work/wrong.jsonl"
expect 1 "$longspan" generate --model "$folder" --prompt-file "$work/wrong.jsonl"
says "wrong.jsonl:2"
says 'the nearest is "max_tokens"'

# Ranks: the same bits, whatever the layout.
expect 0 "$longspan" logits --model "$folder" --token-ids "$ids" --output "$work/1.npy"
says "float32 [200, 320]"
[ "$(stat -c %s "$work/1.npy")" -eq $((128 + 200 * 320 * 4)) ] || fail "$what: the file has the wrong size"
for grid in "2 1" "1 2" "2 2" "4 1"; do
  read -r tp kvp <<<"$grid"
  group=("$mpirun" -n $((tp * kvp)) "${generate[@]}" --threads 1 --tp "$tp" --kvp "$kvp" --kv-bytes 4M)
  expect 0 "${group[@]}" --prompt "The cache grows" --max-tokens 12 --json
  prints "\"tp\":$tp,\"kvp\":$kvp"
  for name in token_ids logits_digest; do
    [ "$(field "$name")" = "$(out=$work/alone.json field "$name")" ] || fail "$what: other $name than one rank"
  done
  expect 0 "${group[@]}" --prompt "The cache grows" --max-tokens 12 --json --logprobs 2 --temperature 2 --seed 7
  sed 's/.*"logprobs"://; s/"usage".*//' "$out" | cmp - "$work/logprobs" || fail "$what: other log-probabilities than one rank"
done
expect 0 "$mpirun" -n 2 "$longspan" logits --model "$folder" --threads 1 --token-ids "$ids" --output "$work/2.npy"
cmp "$work/1.npy" "$work/2.npy" || fail "$what: other logits than one rank"
expect 0 "$mpirun" -n 3 "${generate[@]}" --threads 1 --prompt "The cache grows" --max-tokens 2
says "results depend on the number of ranks"
expect 2 "$mpirun" -n 2 "$longspan" generate --model "$folder" --token-ids 1 --tp 3 --kvp 1
says "valid here: --tp 2 --kvp 1, --tp 1 --kvp 2"
[ "$(grep -c '^longspan: ' "$err")" -eq 1 ] || fail "$what: not said once"
expect 1 "$mpirun" -n 2 "$longspan" generate --model /nonexistent.gguf --token-ids 1
[ "$(grep -c '^longspan: ' "$err")" -eq 1 ] || fail "$what: not said once"
expect 2 "$mpirun" -n 2 "$longspan" generate --modle x
[ "$(grep -c '^longspan: ' "$err")" -eq 1 ] || fail "$what: not said once"
# A rank that fails alone is named, and nobody waits for ever.
expect 1 timeout 60 "$mpirun" -n 1 "$longspan" generate --model "$folder" --token-ids 1 : \
  -n 1 "$longspan" generate --model /nonexistent.gguf --token-ids 1
says "rank 1 ("

# Interruptions end in order. The batch takes far longer than the wait before the signal.
for ((i = 0; i < 3000; ++i)); do echo '{"token_ids": [1, 2, 3], "max_tokens": 2000, "ignore_eos": true}'; done >"$work/long.jsonl"
for signal in "INT 130" "TERM 143"; do
  read -r name expected <<<"$signal"
  : >"$err"
  # The shell starts it with SIGINT ignored; it listens all the same.
  "$longspan" generate --model "$folder" --prompt-file "$work/long.jsonl" >"$out" 2>"$err" &
  pid=$!
  for ((i = 0; i < 300; ++i)); do grep -q "done in" "$err" && break; sleep 0.1; done
  sleep 0.3
  kill -s "$name" "$pid"
  wait "$pid"
  status=$?
  what="generate, interrupted by SIG$name"
  [ "$status" -eq "$expected" ] || fail "$what: exit status $status, expected $expected"
  prints '"finish_reason":"cancelled"'
done

[ "$failures" -eq 0 ] && echo "all as expected"
[ "$failures" -eq 0 ]
