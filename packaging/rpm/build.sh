#!/usr/bin/env bash
# build.sh OUT: makes the RPM package in the folder OUT, and looks at it with rpm, and with rpmlint where there is one.
#
# Needs cargo-generate-rpm (`cargo install --locked cargo-generate-rpm`), Python 3.11, and rpm; and what cargo needs. Builds into
# target/packages, whatever CARGO_TARGET_DIR says. With BUILD=no it takes what was built before. The program wants the C library of
# where it is built, or a later one: Debian 12 is good for RHEL 9.
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
made=target/packaging/rpm
mkdir -p "$made"
python3 packaging/licences.py "$(uname -m)-unknown-linux-gnu" >target/packaging/copyright
gzip -9n <man/check_nats_service.8 >"$made/check_nats_service.8.gz"
# Where plugins are.
for file in check-nats-service.cfg services.cfg nrpe.cfg; do
    sed 's,/usr/lib/nagios/,/usr/lib64/nagios/,g' "packaging/nagios/$file" >"$made/$file"
done
temp=$(mktemp -d)
trap 'rm -rf "$temp"' EXIT
# The same bytes whenever it is made.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(dpkg-parsechangelog -l packaging/debian/changelog -S Timestamp 2>/dev/null || git log -1 --format=%ct)}
export SOURCE_DATE_EPOCH
cargo generate-rpm --payload-compress gzip --output "$temp/"
rpm -qp --requires --scripts "$temp"/*.rpm >/dev/null
! command -v rpmlint >/dev/null || rpmlint --config packaging/rpm/rpmlint.toml "$temp"/*.rpm
mv "$temp"/*.rpm "$out/"
