#!/usr/bin/env bash
# How fast KV goes from a group to another over a link of 1 Gbit/s, beside what UCX alone reaches there, and how much of that
# is hidden behind the prefill: tests/full/lib/groups_link.py. Hosts are network namespaces; only root can make them.
# shellcheck source=tests/full/lib/common.sh
source "$(dirname "$0")/lib/common.sh"

skip() { echo "SKIPPED: $*"; exit 77; }
for program in ip tc ucx_perftest; do
  command -v $program >/dev/null || skip "no $program: apt-get install iproute2 ucx-utils"
done
hosts=(coordinator prefill decode)
prefix=longspan$$
bridge=ls$$
remove() {
  for host in "${hosts[@]}"; do
    ip netns del "$prefix-$host" 2>/dev/null || true
  done
  ip link del $bridge 2>/dev/null || true
  rm -rf "$work"
}
ip netns add "$prefix-${hosts[0]}" 2>"$work/error" || skip "no network namespace can be made here: $(cat "$work/error")"
trap remove EXIT
# A subnet that documents may use: no other interface has it.
subnet=198.51.100
ip link add $bridge type bridge
ip address add $subnet.254/24 dev $bridge
ip link set $bridge up
for i in "${!hosts[@]}"; do
  host=$prefix-${hosts[$i]}
  [ "$i" -eq 0 ] || ip netns add "$host"
  ip link add "$bridge.$i" type veth peer name eth0 netns "$host"
  ip link set "$bridge.$i" master $bridge up
  ip -n "$host" address add "$subnet.$((i + 1))/24" dev eth0
  ip -n "$host" link set lo up
  ip -n "$host" link set eth0 up
  ip netns exec "$host" tc qdisc add dev eth0 root tbf rate 1gbit burst 256kb latency 20ms 2>"$work/error" ||
    skip "no link can be shaped here: $(cat "$work/error")"
done

# Much KV and little computation: 128 KiB of KV for each token. And the other way round: 16 KiB, behind wide matrices.
"$build/tools/make_model" --out "$work/much_kv.gguf" --family llama --layers 4 --hidden 64 --heads 32 --kv-heads 32 --head-dim 128 \
  --ffn 64 --vocab 256 --context 4096
"$build/tools/make_model" --out "$work/little_kv.gguf" --family llama --layers 4 --hidden 1024 --heads 8 --kv-heads 4 \
  --head-dim 128 --ffn 2048 --vocab 256 --context 8192
PYTHONDONTWRITEBYTECODE=1 python3 "$root/tests/full/lib/groups_link.py" "$build/longspan" "$work" "$prefix" "$bridge" "$subnet" ||
  fail "KV over a link"
