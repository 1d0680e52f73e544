#!/usr/bin/env bash
# build.sh OUT: makes the Debian package in the folder OUT, and lets lintian look at it.
#
# Needs cargo-deb (`cargo install --locked cargo-deb`), Python 3.11, and lintian; and what cargo needs. Builds into target/, where
# Cargo.toml says that the program is, whatever CARGO_TARGET_DIR says. With BUILD=no it takes what lies there.
set -euo pipefail

[ $# = 1 ] || {
    echo "usage: build.sh OUT" >&2
    exit 2
}
mkdir -p "$1"
out=$(cd "$1" && pwd)
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
unset CARGO_TARGET_DIR

[ "${BUILD:-yes}" = no ] || cargo build --quiet --locked --release --bin check_nats_service
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
