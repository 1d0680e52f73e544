#!/usr/bin/env bash
# Checks what the program is made of: licences, sources, doubles and advisories of its crates, as .cargo/deny.toml accepts them,
# and that its SBOM is one. Takes some minutes the first time, when it builds cargo-deny into target/test-tools.
#
# The advisories are those of RustSec. Where its database cannot be had, it says so and the rest counts, but in CI the last
# check (.cargo/advisories-checked) must be younger than 90 days. OFFLINE=1 does not try.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
tools=${CARGO_TARGET_DIR:-target}/test-tools
mkdir -p "$tools"
tools=$(cd "$tools" && pwd)
# shellcheck source=tests/install.sh
. "$root/tests/install.sh"

command -v cargo >/dev/null || die "no cargo: install Rust first"
deny_version=0.20.2
cyclonedx_version=11.12.0
# Built under a lock of its own: tests/run.sh need not wait for it.
exec 8>"$tools/.cargo-deny.lock"
flock 8
deny=$tools/cargo-deny-$deny_version/bin/cargo-deny
if [ ! -x "$deny" ]; then
    say "building cargo-deny $deny_version"
    quietly env CARGO_TARGET_DIR="$tools/cargo-deny-build" \
        cargo install --quiet --locked --version "$deny_version" --root "$tools/cargo-deny-$deny_version" cargo-deny ||
        die "could not build cargo-deny"
    rm -rf "$tools/cargo-deny-build"
fi
exec 8>&-
exec 9>"$tools/.lock"
flock 9
venv
if ! "$tools/venv/bin/python" -c "import importlib.metadata as m; assert m.version('cyclonedx-python-lib') == '$cyclonedx_version'" 2>/dev/null; then
    say "installing cyclonedx-python-lib $cyclonedx_version (PyPI)"
    quietly "$tools/venv/bin/python" -m pip install "cyclonedx-python-lib[json-validation]==$cyclonedx_version" ||
        die "could not install cyclonedx-python-lib"
fi
exec 9>&-

"$deny" --locked check bans licenses sources
if [ -n "${OFFLINE:-}" ] || ! "$deny" fetch db >/dev/null 2>&1; then
    age=$(tests/advisories_age.sh .cargo/advisories-checked) || [ -z "${CI:-}" ] ||
        die "$age: check them, and change .cargo/advisories-checked"
    say "NOT CHECKED: advisories, since their database cannot be had here; $age"
else
    "$deny" --locked check --deny advisory-not-detected advisories
fi

sbom=$tools/sbom.cdx.json
python3 packaging/container/sbom.py "$(rustc --print host-tuple)" >"$sbom"
"$tools/venv/bin/python" - "$sbom" <<'PYTHON'
import sys

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

error = JsonStrictValidator(SchemaVersion.V1_5).validate_str(open(sys.argv[1]).read())
if error:
    sys.exit(f"the SBOM is no CycloneDX 1.5: {error}")
PYTHON
say "the SBOM is CycloneDX 1.5: $sbom"
