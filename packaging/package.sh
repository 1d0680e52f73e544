# shellcheck shell=bash
# What the Debian and the RPM package have in common; their build.sh read it in after they have checked their arguments.
#
# Goes to the root of the repository, builds the program, gathers the licences and sets the time that all of a package has.
# In: $1, the folder for the package, and BUILD=no to take what was built before. Out: $out, that folder; $temp, which goes at the end.
mkdir -p "$1"
out=$(cd "$1" && pwd)
cd "$(dirname "${BASH_SOURCE[0]}")/.."
unset CARGO_TARGET_DIR

# Dynamic: updates of the C library reach it, and names are resolved as all of the host does.
if [ "${BUILD:-yes}" != no ]; then
    cargo build --quiet --locked --release --bin check_nats_service
    install -D -m 755 target/release/check_nats_service target/packaging/check_nats_service
fi
mkdir -p target/packaging
python3 packaging/licences.py "$(uname -m)-unknown-linux-gnu" >target/packaging/copyright

# The same bytes whenever it is made: all times are that of the changelog.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(dpkg-parsechangelog -l packaging/debian/changelog -S Timestamp 2>/dev/null || git log -1 --format=%ct)}
export SOURCE_DATE_EPOCH

temp=$(mktemp -d)
trap 'rm -rf "$temp"' EXIT
