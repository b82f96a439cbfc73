#!/usr/bin/env bash
# The page at "/" of a server of two ranks, used in headless Chromium as a person would: tests/full/lib/page.py says what
# it must do. The screenshots are left in page/ of the build folder. No Chromium or no network: skipped.
# shellcheck source=tests/full/lib/common.sh
source "$(dirname "$0")/lib/common.sh"
packages=(playwright==1.65.2)

find_browser() { command -v chromium-headless-shell || command -v chromium || command -v google-chrome; }
if ! browser=$(find_browser); then
  if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
    apt-get -q update >"$work/apt.log" 2>&1 || true
    apt-get -q -y -o DPkg::Lock::Timeout=300 install --no-install-recommends chromium-headless-shell >>"$work/apt.log" 2>&1 || tail -n 3 "$work/apt.log"
  fi
  browser=$(find_browser) || { echo "SKIPPED: there is no Chromium: install Debian's chromium-headless-shell"; exit 77; }
fi
# Its own browsers cannot be had everywhere; the library drives Debian's.
if ! PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD=1 python3 -m pip --no-input install -q --target "$work/packages" "${packages[@]}"; then
  echo "SKIPPED: the library that drives the browser cannot be fetched: ${packages[*]}"
  exit 77
fi

key=$(python3 -c 'import secrets; print(secrets.token_hex(16))')
printf %s "$key" | sha256sum >"$work/keys"
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
"$root/launcher/local-mpirun" -n 2 "$build/longspan" serve --model "$model" --kv-bytes 256M --port "$port" --api-key-file "$work/keys" \
  >"$work/serve.log" 2>&1 &
server=$!
trap 'kill "$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true; rm -rf "$work"' EXIT

mkdir -p "$build/page"
PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$work/packages python3 "$root/tests/full/lib/page.py" "http://127.0.0.1:$port/" "$key" "$browser" \
  "$build/page" || { tail -n 20 "$work/serve.log"; fail "the page"; }
