#!/usr/bin/env bash
# context.sh OUT: makes OUT, all that the image is built of: the static binary, CA certificates, licence, SBOM, Containerfile.
#
# Needs Rust, a C compiler and glibc's static library (libc6-dev), Python 3.11 for the SBOM, and ca-certificates. From the
# environment: PROFILE (release), CARGO_TARGET_DIR (target), CA_BUNDLE (that of this host), STATIC_BINARY (a program that was built
# before, to use instead of building it), TARGET and CC (for another machine, see README.md); for the labels SOURCE_DATE_EPOCH (now), REVISION (the
# commit that is built) and SOURCE_URL (that of the Git remote `origin`, if it is on the web).
set -euo pipefail

[ $# = 1 ] || {
    echo "usage: context.sh OUT" >&2
    exit 2
}
mkdir -p "$1"
out=$(cd "$1" && pwd)
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$here/../.."

# label NAME VALUE: a label of the OCI image specification. What is not known is left out, so that every label is true.
label() {
    [ -z "$2" ] || printf 'LABEL org.opencontainers.image.%s="%s"\n' "$1" "$2"
}

# Of a program that was built before, or with changes, nobody knows the commit.
if [ -z "${STATIC_BINARY:-}" ]; then
    revision=${REVISION-$(git diff --quiet HEAD 2>/dev/null && git rev-parse HEAD || true)}
    STATIC_BINARY=$(packaging/static.sh)
fi
install -m 755 "$STATIC_BINARY" "$out/check_nats_service"
install -m 644 "${CA_BUNDLE:-/etc/ssl/certs/ca-certificates.crt}" "$out/ca-certificates.crt"
install -m 644 LICENSE "$here/Containerfile" "$out/"
python3 "$here/sbom.py" "${TARGET:-$(rustc --print host-tuple)}" >"$out/sbom.cdx.json"

# Without the user and the password that a remote may have.
url=${SOURCE_URL-$(git remote get-url origin 2>/dev/null | sed -nE 's#^https://([^/@]*@)?#https://#p' | sed 's#\.git$##')}
{
    label version "$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)"
    label revision "${revision-${REVISION:-}}"
    label created "$(date -u -d "@${SOURCE_DATE_EPOCH:-$(date +%s)}" +%Y-%m-%dT%H:%M:%SZ)"
    label url "$url"
    label source "$url"
    label documentation "${url:+$url#readme}"
} >>"$out/Containerfile"
