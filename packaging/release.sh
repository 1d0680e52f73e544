#!/usr/bin/env bash
# release.sh OUT: makes all that is published, in the folder OUT: the static binary with its documents, the Debian and the RPM
# package, the container image as an OCI archive, the SBOM, and the checksums. From the last commit, whatever lies around; the same
# commit, tools, authorities and Git remote make the same bytes, wherever and whenever. With MINISIGN_KEY, the file of a secret key, the
# checksums are signed (packaging/container/README.md).
#
# Needs what packaging/debian/build.sh, packaging/rpm/build.sh and packaging/container/context.sh need, git, and buildah.
# Takes some minutes, since everything is built anew.
set -euo pipefail

say() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
}

[ $# = 1 ] || {
    echo "usage: release.sh OUT" >&2
    exit 2
}
mkdir -p "$1"
out=$(cd "$1" && pwd)
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
arch=$(uname -m)

temp=$(mktemp -d)
trap 'rm -rf "$temp"' EXIT
git clone -q "$root" "$temp/source"
cd "$temp/source"
# The labels of the image name it.
git remote set-url origin "$(git -C "$root" remote get-url origin 2>/dev/null || echo "$root")"
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
name=check_nats_service-$version-$arch-linux
say "$version, commit $(git rev-parse --short HEAD)"

# No time of this day, and no path of this machine, gets into what is made.
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH
export RUSTFLAGS="--remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo --remap-path-prefix=$PWD=/source"
unset CARGO_TARGET_DIR
umask 022

# archive FILE FOLDER: the folder as a tar archive.
archive() {
    tar --sort=name --owner=0 --group=0 --numeric-owner --format=ustar --mtime="@$SOURCE_DATE_EPOCH" -cf "$1" -C "$2" .
}

say "building the packages"
packaging/debian/build.sh "$temp/made"
BUILD=no packaging/rpm/build.sh "$temp/made"

say "building the static binary"
packaging/container/context.sh "$temp/context"
cp "$temp/context/sbom.cdx.json" "$temp/made/$name.cdx.json"
mkdir -p "$temp/static/$name/completions" "$temp/static/$name/examples"
install -m 755 "$temp/context/check_nats_service" packaging/make-state-folders "$temp/static/$name/"
install -m 644 LICENSE README.md CHANGELOG.md man/check_nats_service.8 target/packaging/copyright "$temp/static/$name/"
install -m 644 packaging/completions/* "$temp/static/$name/completions/"
cp -r packaging/{icinga2,kubernetes,nagios,prometheus,systemd,zabbix} "$temp/static/$name/examples/"
# These are for the sources.
rm "$temp/static/$name"/examples/*/try.sh
archive "$temp/static.tar" "$temp/static"
gzip -9n <"$temp/static.tar" >"$temp/made/$name.tar.gz"

say "building the image"
image() {
    buildah --storage-driver vfs --root "$temp/storage" --runroot "$temp/run" "$@"
}
image build -q --isolation chroot --timestamp "$SOURCE_DATE_EPOCH" --identity-label=false -t "check_nats_service:$version" "$temp/context" >/dev/null
image push -q "check_nats_service:$version" "oci:$temp/oci:check_nats_service:$version"
archive "$temp/made/$name.oci.tar" "$temp/oci"

if [ -n "${MINISIGN_KEY:-}" ]; then
    "$root/packaging/sign.sh" "$temp/made" "$MINISIGN_KEY"
else
    (cd "$temp/made" && sha256sum -- * >SHA256SUMS)
fi
cp "$temp/made"/* "$out/"
say "all made in $out"
