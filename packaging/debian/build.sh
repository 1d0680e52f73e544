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
# Before anything is compiled.
for tool in "cargo-deb (cargo install --locked cargo-deb)" "lintian (apt install lintian)" "python3"; do
    command -v "${tool%% *}" >/dev/null || {
        echo "build.sh: no $tool" >&2
        exit 1
    }
done
# shellcheck source=packaging/package.sh
. "$(dirname "${BASH_SOURCE[0]}")/../package.sh"

cargo deb --quiet --no-build --output "$temp/"
lintian --fail-on error,warning "$temp"/*.deb
mv "$temp"/*.deb "$out/"
