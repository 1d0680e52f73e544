#!/usr/bin/env bash
# try.sh DEB: goes the way of a Nagios admin on a clean Debian: installs the package, Nagios and NATS, waits for the first right
# alert, upgrades, removes and purges; nothing may be left.
#
# Needs root, debootstrap, and the network for Debian's packages; takes some minutes. Everything is in a folder of its own, which
# goes at the end, and every process in a namespace that ends with it. ROOT names a Debian that is there already, SERVICE the
# demo service (that of the debug build).
set -euo pipefail

say() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
}

die() {
    say "$*"
    exit 1
}

# --- In the new Debian. ---

expect() {
    local what=$1
    shift
    "$@" >/tmp/expect.log 2>&1 || {
        tail -n 20 /tmp/expect.log >&2
        die "not so: $what ($*)"
    }
    say "$what"
}

# wait_for WHAT COMMAND...: tries again each second, for two minutes.
wait_for() {
    local what=$1 start=$SECONDS
    shift
    until "$@" >/dev/null 2>&1; do
        [ $((SECONDS - start)) -lt 120 ] || {
            tail -n 20 /var/log/nagios4/nagios.log >&2 || true
            die "not within 2 minutes: $what"
        }
        sleep 1
    done
    say "$what (after $((SECONDS - start)) s)"
}

# in_status PATTERN: of the service in Nagios' status file.
in_status() {
    sed -n '/service_description=nats-orders/,/}/p' /var/lib/nagios4/status.dat | grep -q "$1"
}

quietly() {
    "$@" >/tmp/apt.log 2>&1 </dev/null || {
        cat /tmp/apt.log >&2
        die "failed: $*"
    }
}

install_quietly() {
    quietly apt-get install -y -q --no-install-recommends "$@"
}

files() {
    find / -xdev \( -path /proc -o -path /sys -o -path /tmp -o -path /root -o -path /var/log -o -path /var/cache -o -path /var/lib/apt \
        -o -path /var/lib/dpkg -o -path /var/lib/nagios4 -o -path /dev -o -path /run \) -prune -o -print | sort
}

inside() {
    export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
    printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
    chmod +x /usr/sbin/policy-rc.d
    quietly apt-get update -q

    # The package first, and Nagios later: its user is not there yet.
    files >/tmp/before
    install_quietly /try/old.deb
    expect "only root can write to the folder of the states" test "$(stat -c %U:%a /var/lib/check_nats_service)" = root:755
    quietly apt-get purge -y -q check-nats-service
    files >/tmp/after
    diff /tmp/before /tmp/after >&2 || die "something is left of the package (see above)"
    say "installed and purged without a trace"
    install_quietly /try/old.deb
    # As the package before had it, with links in it that another user has planted.
    chmod 1777 /var/lib/check_nats_service
    setpriv --reuid 4321 --regid 4321 --clear-groups ln -s /etc /var/lib/check_nats_service/textfile
    # The demo service wants the authorities.
    install_quietly nagios4-core nagios4-common nats-server ca-certificates
    say "the package, Nagios and NATS are installed"

    nats-server -a 127.0.0.1 -p 4222 >/dev/null 2>&1 &
    wait_for "nats-server listens" bash -c '</dev/tcp/127.0.0.1/4222'
    /try/service --url nats://127.0.0.1:4222 --name orders >/dev/null 2>&1 &
    local service=$!
    disown

    # As services.cfg says, but for the intervals.
    sed 's/retry_interval .*/retry_interval 1/; s/check_interval  *0.25/check_interval 1/' /usr/share/doc/check-nats-service/examples/nagios/services.cfg \
        >/etc/nagios4/conf.d/nats.cfg
    sed -i 's/^interval_length=.*/interval_length=1/' /etc/nagios4/nagios.cfg
    expect "Nagios takes the definitions" nagios4 -v /etc/nagios4/nagios.cfg
    install -d -o nagios -g nagios /var/run/nagios4
    nagios4 -d /etc/nagios4/nagios.cfg
    wait_for "Nagios says OK" in_status 'plugin_output=NATS_SERVICE OK - orders: 1 instance'
    expect "the state is that of the nagios user" test "$(stat -c %U:%a "/var/lib/check_nats_service/$(id -u nagios)")" = nagios:700

    # An upgrade in the middle of an outage keeps it, and what the admin has changed.
    kill -KILL "$service"
    wait_for "Nagios says CRITICAL, and HARD" in_status 'last_hard_state=2'
    say "from the bare Debian to the first right alert: $SECONDS s"
    expect "it says why" in_status 'plugin_output=NATS_SERVICE CRITICAL - orders: still down'
    echo "# changed by the admin" >>/etc/nagios-plugins/config/check-nats-service.cfg
    install_quietly /try/new.deb
    expect "the upgrade closes the folder of the states" test "$(stat -c %U:%a /var/lib/check_nats_service)" = root:755
    expect "a planted link is moved away" test ! -e /var/lib/check_nats_service/textfile -a "$(stat -c %U /etc)" = root
    expect "it is upgraded" test "$(dpkg-query -W -f '${Version}' check-nats-service)" = "$(dpkg-deb -f /try/new.deb Version)"
    expect "what the admin changed is kept" grep -q "changed by the admin" /etc/nagios-plugins/config/check-nats-service.cfg
    wait_for "the outage is still open" in_status 'plugin_output=NATS_SERVICE CRITICAL - orders: still down'
    /try/service --url nats://127.0.0.1:4222 --name orders >/dev/null 2>&1 &
    wait_for "Nagios says OK again" in_status 'plugin_output=NATS_SERVICE OK - orders: 1 instance'

    # Icinga finds the CheckCommand by itself.
    install_quietly icinga2-bin icinga2-common
    cp /usr/share/doc/check-nats-service/examples/icinga2/services.conf /etc/icinga2/conf.d/nats.conf
    expect "Icinga 2 takes the definitions" icinga2 daemon -C

    # Others find their folders, too.
    expect "the link in PATH runs" check_nats_service --version
    useradd --uid 4321 --user-group --no-create-home monitor
    expect "one more user gets a folder" /usr/share/check-nats-service/make-state-folders monitor
    expect "it has a state" setpriv --reuid 4321 --regid 4321 --clear-groups check_nats_service -n orders
    expect "its folder is its own" test "$(stat -c %u:%a /var/lib/check_nats_service/4321)" = 4321:700

    kill "$(cat /var/run/nagios4/nagios4.pid)"
    quietly apt-get remove -y -q check-nats-service
    expect "removed: the state is kept" test -d "/var/lib/check_nats_service/$(id -u nagios)"
    expect "removed: the configuration is kept" test -f /etc/nagios-plugins/config/check-nats-service.cfg
    quietly apt-get purge -y -q check-nats-service
    local left
    left=$(files | grep -i 'check.nats' || true)
    [ -z "$left" ] || die "left after the purge: $left"
    say "purged without a trace"
}

if [ "${1:-}" = inside ]; then
    inside
    exit
fi

# --- Around it. ---

[[ $# = 1 && -f $1 ]] || die "usage: try.sh DEB"
[ "$(id -u)" = 0 ] || die "this needs root"
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
temp=$(mktemp -d)
trap 'rm -rf "$temp"' EXIT
if [ -z "${ROOT:-}" ]; then
    ROOT=$temp/root
    say "making a clean Debian (debootstrap)"
    debootstrap --variant=minbase bookworm "$ROOT" >"$temp/log" 2>&1 || {
        tail "$temp/log" >&2
        die "debootstrap failed"
    }
fi
# The same package, as it would have been before.
dpkg-deb -R "$1" "$temp/old"
sed -i 's/^Version: .*/Version: 0.0.9-1/' "$temp/old/DEBIAN/control"
install -d "$ROOT/try"
dpkg-deb --root-owner-group -b "$temp/old" "$ROOT/try/old.deb" >/dev/null
cp "$1" "$ROOT/try/new.deb"
cp "${SERVICE:-$(ls "$here"/../../target/*/debug/examples/demo_service)}" "$ROOT/try/service"
cp "$0" "$ROOT/try/try.sh"
cp /etc/resolv.conf "$ROOT/etc/resolv.conf"
# shellcheck disable=SC2016
unshare --mount --pid --fork --kill-child bash -c '
    mount -t proc proc "$1/proc" && mount --bind /dev "$1/dev" && exec chroot "$1" bash /try/try.sh inside' sh "$ROOT"
say "all well"
