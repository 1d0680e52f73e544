#!/usr/bin/env bash
# context.sh OUT: makes OUT, all that the image is built of: the static binary, authorities, licence, SBOM, Containerfile.
#
# Needs Rust, a C compiler and glibc's static library (libc6-dev), Python 3.11 for the SBOM, and ca-certificates. From the
# environment: PROFILE (release), CARGO_TARGET_DIR (target), CA_BUNDLE (that of this host), STATIC_BINARY (a program that was built
# before, to use instead of building it).
set -euo pipefail

[ $# = 1 ] || {
    echo "usage: context.sh OUT" >&2
    exit 2
}
mkdir -p "$1"
out=$(cd "$1" && pwd)
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$here/../.."

STATIC_BINARY=${STATIC_BINARY:-$(packaging/static.sh)}
install -m 755 "$STATIC_BINARY" "$out/check_nats_service"
install -m 644 "${CA_BUNDLE:-/etc/ssl/certs/ca-certificates.crt}" "$out/ca-certificates.crt"
install -m 644 LICENSE "$here/Containerfile" "$out/"
python3 "$here/sbom.py" "$(rustc --print host-tuple)" >"$out/sbom.cdx.json"
