#!/usr/bin/env bash
# Fuzzes what reads foreign bytes, guided by coverage. Usage: tests/fuzz/run.sh [SECONDS [TARGET...]]
#
# SECONDS (60) for each of the TARGETs (all of them), one after the other. What was found to reach new code is kept in
# target/fuzz/corpus, so that the next run goes on from there; an input that breaks a promise is in target/fuzz/found, and the
# status is then not 0. Needs Rust and a C++ compiler; stable Rust will do. `chrt --idle 0` before it leaves the processors to
# others. The short form, without coverage, is `cargo test --test tests fuzz::`.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$here/../.."
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")/fuzz
host=$(rustc --print host-tuple)
seconds=${1:-60}
shift || true

# The versions that the program has. Cargo adds to it what fuzzing itself needs.
cp Cargo.lock "$here/Cargo.lock"
# What cargo-fuzz gives, without its sanitizers, which only nightly Rust has: edges counted, comparisons traced.
coverage='-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters
    -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1'
RUSTFLAGS=$(tr -s '\n ' '  ' <<<"$coverage") CARGO_TARGET_DIR=$target \
    cargo build --quiet --release --target "$host" --manifest-path "$here/Cargo.toml"
fuzz=$target/$host/release/fuzz

[ $# -gt 0 ] || mapfile -t all < <(FUZZ_LIST=1 "$fuzz" 2>/dev/null)
mkdir -p "$target/found"
failed=''
for name in "${@:-${all[@]}}"; do
    export FUZZ_TARGET=$name
    corpus=$target/corpus/$name
    seeds=$target/seeds/$name
    mkdir -p "$corpus" "$(dirname "$seeds")"
    rm -rf "$seeds"
    FUZZ_SEEDS=$seeds "$fuzz" 2>/dev/null
    # 16 KiB hold each sample several times; an input that takes 30 s hangs, even beside other work, and one that takes 512 MiB is not bounded.
    log=$target/$name.log
    result=''
    if ! "$fuzz" "$corpus" "$seeds" -dict="$seeds.words" -artifact_prefix="$target/found/$name-" -max_total_time="$seconds" \
        -max_len=16384 -timeout=30 -rss_limit_mb=512 -malloc_limit_mb=256 -print_final_stats=1 -verbosity=1 >"$log" 2>&1; then
        failed=yes
        result=', ended by a finding'
        tail -n 40 "$log"
    fi
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    edges=$(sed -n 's/.* cov: \([0-9]*\).*/\1/p' "$log" | tail -n 1)
    printf '%-12s %12s executions, %s edges, %s inputs kept%s\n' "$name" "${runs:-?}" "${edges:-?}" \
        "$(find "$corpus" -type f | wc -l)" "$result"
done
[ -z "$failed" ]
