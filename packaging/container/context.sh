#!/usr/bin/env bash
# context.sh OUT: makes OUT, all that the image is built of: the static binary, authorities, licence, SBOM, Containerfile.
#
# Needs Rust, a C compiler and glibc's static library (libc6-dev), Python 3.11 for the SBOM, and ca-certificates. From the
# environment: PROFILE (release), CARGO_TARGET_DIR (target/static), CA_BUNDLE (that of this host).
set -euo pipefail

[ $# = 1 ] || {
    echo "usage: context.sh OUT" >&2
    exit 2
}
mkdir -p "$1"
out=$(cd "$1" && pwd)
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$here/../.."

profile=${PROFILE:-release}
target=$(uname -m)-unknown-linux-gnu
# A folder of its own: other flags would build everything anew each time.
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target/static}
RUSTFLAGS="${RUSTFLAGS:-} -C target-feature=+crt-static" cargo build --quiet --locked --bin check_nats_service --target "$target" --profile "$profile"
folder=${profile/#dev/debug}
install -m 755 "$CARGO_TARGET_DIR/$target/$folder/check_nats_service" "$out/check_nats_service"
install -m 644 "${CA_BUNDLE:-/etc/ssl/certs/ca-certificates.crt}" "$out/ca-certificates.crt"
install -m 644 LICENSE "$here/Containerfile" "$out/"
python3 "$here/sbom.py" "$target" >"$out/sbom.cdx.json"
