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
# Before anything is compiled.
for tool in "cargo-generate-rpm (cargo install --locked cargo-generate-rpm)" "rpm (apt install rpm)" "python3"; do
    command -v "${tool%% *}" >/dev/null || {
        echo "build.sh: no $tool" >&2
        exit 1
    }
done
# shellcheck source=packaging/package.sh
. "$(dirname "${BASH_SOURCE[0]}")/../package.sh"

made=target/packaging/rpm
mkdir -p "$made"
gzip -9n <man/check_nats_service.8 >"$made/check_nats_service.8.gz"
# Where plugins are.
for file in check-nats-service.cfg services.cfg nrpe.cfg; do
    sed 's,/usr/lib/nagios/,/usr/lib64/nagios/,g' "packaging/nagios/$file" >"$made/$file"
done
for file in package-readme.md nagios/README.md; do
    sed 's,/usr/lib/nagios/,/usr/lib64/nagios/,g; s,/etc/nagios-plugins/config/,/etc/nagios/conf.d/,g' "packaging/$file" \
        >"$made/${file##*/}"
done
cargo generate-rpm --payload-compress gzip --output "$temp/"
rpm -qp --requires --scripts "$temp"/*.rpm >/dev/null
! command -v rpmlint >/dev/null || rpmlint --config packaging/rpm/rpmlint.toml "$temp"/*.rpm
mv "$temp"/*.rpm "$out/"
