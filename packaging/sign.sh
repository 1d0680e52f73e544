#!/usr/bin/env bash
# sign.sh FOLDER KEY: writes SHA256SUMS of all files in FOLDER, and signs it with the secret key of minisign: SHA256SUMS.minisig.
#
# container/README.md tells how the key is made and how a signature is checked. Needs minisign, which asks for the password of the key.
set -euo pipefail

[ $# = 2 ] || {
    echo "usage: sign.sh FOLDER KEY" >&2
    exit 2
}
key=$(realpath "$2")
cd "$1"
rm -f SHA256SUMS SHA256SUMS.minisig
sha256sum -- * >SHA256SUMS
version=$(printf '%s\n' * | sed -n 's/^\(check_nats_service-[^-]*\)-.*/\1/p' | head -n 1)
# The trusted comment is signed, too.
minisign -S -s "$key" -m SHA256SUMS -t "${version:-check_nats_service}"
