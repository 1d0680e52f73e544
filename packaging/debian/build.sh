#!/usr/bin/env bash
# build.sh OUT: makes the Debian package in the folder OUT, and lets lintian look at it.
#
# Needs cargo-deb (`cargo install --locked cargo-deb`), Python 3.11, and lintian; and what cargo needs. Builds into
# target/packages, whatever CARGO_TARGET_DIR says. With BUILD=no it takes what was built before.
set -euo pipefail

[ $# = 1 ] || {
    echo "usage: build.sh OUT" >&2
    exit 2
}
mkdir -p "$1"
out=$(cd "$1" && pwd)
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
unset CARGO_TARGET_DIR

# Dynamic, and not static as the program is otherwise: updates of the C library reach it, and names are resolved as all of the
# host does. In a folder of its own, so that neither takes the other's place.
if [ "${BUILD:-yes}" != no ]; then
    triple=$(rustc --print host-tuple)
    RUSTFLAGS=${RUSTFLAGS:-} CARGO_TARGET_DIR=target/packages \
        cargo build --quiet --locked --release --target "$triple" --bin check_nats_service
    install -D -m 755 "target/packages/$triple/release/check_nats_service" target/packaging/check_nats_service
fi
mkdir -p target/packaging
python3 packaging/licences.py "$(uname -m)-unknown-linux-gnu" >target/packaging/copyright
temp=$(mktemp -d)
trap 'rm -rf "$temp"' EXIT
# The same bytes whenever it is made: all times are that of the changelog.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(dpkg-parsechangelog -l packaging/debian/changelog -S Timestamp)}
export SOURCE_DATE_EPOCH
cargo deb --quiet --no-build --output "$temp/"
lintian --fail-on error,warning "$temp"/*.deb
mv "$temp"/*.deb "$out/"
