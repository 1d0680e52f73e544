#!/usr/bin/env bash
# static.sh: builds the static, position independent program of the tarball and the image, and prints its path.
#
# It needs nothing of the host that runs it. It resolves names by /etc/hosts and DNS alone. Needs Rust, a C compiler and glibc's
# static library (libc6-dev). From the environment: PROFILE (release), CARGO_TARGET_DIR (target), RUSTFLAGS, and for another machine
# TARGET (that of this one), with its compiler in CC (packaging/container/README.md).
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
profile=${PROFILE:-release}
target=${TARGET:-$(rustc --print host-tuple)}
# What Cargo calls the linker of this target.
[ -z "${CC:-}" ] || export "CARGO_TARGET_$(tr a-z- A-Z_ <<<"$target")_LINKER=$CC"
# Where a target is named, the flags reach the program only, and not what runs while it is built.
RUSTFLAGS="${RUSTFLAGS:-} -C target-feature=+crt-static -C relocation-model=pie -C link-arg=-Wl,-z,pack-relative-relocs" \
    cargo build --quiet --locked --bin check_nats_service --profile "$profile" --target "$target" >&2
realpath "${CARGO_TARGET_DIR:-target}/$target/${profile/#dev/debug}/check_nats_service"
