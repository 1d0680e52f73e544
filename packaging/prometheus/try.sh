#!/usr/bin/env bash
# try.sh TARBALL: goes the way of a Prometheus user on a clean Debian that has booted: unpacks the released tarball, installs the
# program and its units, NATS, node_exporter and Prometheus with the alert rules, as README.md beside it says, and waits for the first
# right alert and for its end. It runs the commands of the alert as they stand, and goes on with the unit that watches, in the place of the
# timer, and with the one that needs no node_exporter. With the intervals and waiting times that are delivered.
#
# Needs root, debootstrap, systemd-nspawn (systemd-container), and the network for Debian's packages; takes about ten minutes. All is
# in a folder of its own, which goes at the end; the machine that boots has a network of its own. SERVICE names the demo service
# (that of the debug build).
set -euo pipefail

say() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
}

die() {
    say "$*"
    exit 1
}

# --- In the booted Debian. ---

# wait_for SECONDS WHAT COMMAND...
wait_for() {
    local seconds=$1 what=$2 start=$SECONDS
    shift 2
    until "$@" >/dev/null 2>&1; do
        [ $((SECONDS - start)) -lt "$seconds" ] || {
            systemctl --no-pager status 'check-nats-service@*' || true
            grep -v '^#' /var/lib/prometheus-nats/node-exporter/nats-service-orders.prom || true
            curl -s http://127.0.0.1:9090/api/v1/targets || true
            die "not within $seconds s: $what"
        }
        sleep 1
    done
    say "$what (after $((SECONDS - start)) s)"
}

# is_true QUERY: whether Prometheus finds something.
is_true() {
    curl -sfG --data-urlencode "query=$1" http://127.0.0.1:9090/api/v1/query | grep '"value":' >/dev/null
}

is_false() {
    curl -sfG --data-urlencode "query=$1" http://127.0.0.1:9090/api/v1/query | grep '"result":\[\]' >/dev/null
}

# annotation ALERT NAME: of the alert that fires.
annotation() {
    curl -sf http://127.0.0.1:9090/api/v1/alerts |
        jq -r --arg alert "$1" --arg name "$2" '.data.alerts[] | select(.labels.alertname == $alert) | .annotations[$name]'
}

inside() {
    wait_for 60 "nats-server listens" bash -c '</dev/tcp/127.0.0.1/4222'
    wait_for 120 "Prometheus is ready" curl -sf http://127.0.0.1:9090/-/ready
    systemd-run --quiet --unit=orders --property=Restart=no /try/service --url nats://127.0.0.1:4222 --name orders

    # A user prometheus who is hostile gets nothing: no step of the unit follows what lies below its folders.
    setpriv --reuid prometheus --regid prometheus --clear-groups \
        bash -c 'mv /var/lib/prometheus/node-exporter /var/lib/prometheus/moved && ln -s /etc/cron.d /var/lib/prometheus/node-exporter'
    # Settings of all services, and of one.
    echo NATS_URL=nats://127.0.0.1:4222 >>/etc/default/check-nats-service
    echo OPTIONS=--label team=shop >>/etc/default/check-nats-service-orders
    systemctl enable --quiet --now check-nats-service@orders.timer
    wait_for 120 "Prometheus knows that orders is up" is_true 'nats_service_up{service="orders",team="shop"} == 1'
    [ "$(stat -c %U /etc/cron.d)" = root ] || die "/etc/cron.d was given away"
    ! ls /etc/cron.d/*nats* 2>/dev/null || die "something was written to /etc/cron.d"
    say "the unit follows no link of the user prometheus"
    is_false 'ALERTS{alertname=~"NatsService.*"}' || die "an alert while all is well"

    systemctl kill --signal=KILL orders
    local down=$SECONDS
    wait_for 180 "Prometheus knows of the outage" is_true 'nats_service_outage{service="orders"} == 1'
    wait_for 240 "NatsServiceDown fires" is_true 'ALERTS{alertname="NatsServiceDown",service="orders",alertstate="firing"}'
    say "from nothing to the first right alert: $(($(date +%s) - $(cat /try/started))) s, $SECONDS s of them since it has booted, $((SECONDS - down)) s since the service died"

    # What it tells people to do works as written, and answers their question.
    local description commands answer
    description=$(annotation NatsServiceDown description)
    [[ $description == *"Missing: "*" on $(hostname)"* ]] || die "it names no missing instance: $description"
    commands=$(annotation NatsServiceDown commands)
    [[ $commands == "On localhost:9100: sudo journalctl "* ]] || die "not the commands that were expected: $commands"
    answer=$(bash -c "${commands#On localhost:9100: }" 2>&1) || die "does not work as written: $commands: $answer"
    [[ $answer == *"orders CRITICAL service_down: down, no responders"* ]] || die "the journal says nothing: $answer"
    [[ $answer == *"service orders under"*"outage since"* ]] || die "state show says nothing: $answer"
    say "the commands of the alert work as written"
    grep -q '^### NatsServiceDown$' "$(annotation NatsServiceDown runbook_url | sed 's,^file://,,; s,#.*,,')" || die "no runbook"

    # NATS is away for a while in the outage: it stays one.
    systemctl stop nats-server
    sleep 60
    is_true 'ALERTS{alertname="NatsServiceDown",service="orders",alertstate="firing"}' || die "the alert is gone because NATS is"
    say "it fires also while NATS is away"
    systemctl start nats-server

    systemctl reset-failed orders || true
    systemd-run --quiet --unit=orders --property=Restart=no /try/service --url nats://127.0.0.1:4222 --name orders
    wait_for 180 "the alert ends with the outage" is_false 'ALERTS{alertname="NatsServiceDown"}'

    # The unit that watches takes the place of the timer.
    systemctl disable --quiet --now check-nats-service@orders.timer
    systemctl enable --quiet --now check-nats-service-watch@orders.service
    systemctl kill --signal=KILL check-nats-service-watch@orders
    wait_for 60 "systemd starts it again" systemctl is-active check-nats-service-watch@orders
    wait_for 60 "it writes the file" bash -c '[ -n "$(find /var/lib/prometheus-nats/node-exporter -name nats-service-orders.prom -newermt "-20 seconds")" ]'
    systemctl kill --signal=KILL orders
    wait_for 180 "Prometheus knows of the outage" is_true 'nats_service_outage{service="orders"} == 1'
    systemctl reset-failed orders || true
    systemd-run --quiet --unit=orders --property=Restart=no /try/service --url nats://127.0.0.1:4222 --name orders
    wait_for 60 "and of its end" is_false 'nats_service_outage{service="orders"} == 1'

    # Without node_exporter, and for all services.
    systemctl enable --quiet --now check-nats-services-watch.service
    wait_for 60 "the unit for all services serves metrics" bash -c "curl -sf http://127.0.0.1:9422/metrics | grep 'nats_service_up{service=\"orders\".* 1$'"
}

if [ "${1:-}" = inside ]; then
    inside
    exit
fi

# --- Around it. ---

[[ $# = 1 && -f $1 ]] || die "usage: try.sh TARBALL"
[ "$(id -u)" = 0 ] || die "this needs root"
started=$(date +%s)
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
temp=$(mktemp -d)
trap 'rm -rf "$temp"' EXIT

# quietly WHAT COMMAND...
quietly() {
    local what=$1
    shift
    say "$what"
    "$@" >"$temp/log" 2>&1 </dev/null || {
        tail -n 20 "$temp/log" >&2
        die "failed: $what"
    }
}

# nspawn OPTIONS...: without any service of this machine's.
nspawn() {
    systemd-nspawn --quiet --directory="$temp/root" --register=no --keep-unit "$@"
}

quietly "making a clean Debian (debootstrap)" debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus,ca-certificates,curl \
    bookworm "$temp/root"
quietly "installing Prometheus, node_exporter and nats-server" nspawn --pipe --resolv-conf=copy-host \
    --setenv=DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends prometheus prometheus-node-exporter nats-server sudo jq

# What an installer writes, and debootstrap does not.
echo "127.0.0.1 localhost" >"$temp/root/etc/hosts"

# As README.md says.
install -d "$temp/root/try" "$temp/unpacked"
tar -xzf "$1" -C "$temp/unpacked" --strip-components=1
install -m 755 "$temp/unpacked/check_nats_service" "$temp/root/usr/bin/"
install -m 644 "$temp/unpacked/examples/systemd"/*.{service,timer} "$temp/root/etc/systemd/system/"
install -D -m 644 "$temp/unpacked/examples/systemd/check-nats-service.sysusers.conf" "$temp/root/etc/sysusers.d/check-nats-service.conf"
install -D -m 644 "$temp/unpacked/examples/systemd/check-nats-service.tmpfiles.conf" "$temp/root/etc/tmpfiles.d/check-nats-service.conf"
echo 'ARGS="--collector.textfile.directory=/var/lib/prometheus*/node-exporter"' >>"$temp/root/etc/default/prometheus-node-exporter"
install -D -m 644 "$temp/unpacked/examples/prometheus/README.md" "$temp/root/usr/share/doc/check-nats-service/examples/prometheus/README.md"
install -m 644 "$temp/unpacked/examples/prometheus/nats-service.rules.yml" "$temp/root/etc/prometheus/"
sed -i 's,^rule_files:,&\n  - /etc/prometheus/nats-service.rules.yml,' "$temp/root/etc/prometheus/prometheus.yml"

install -m 755 "${SERVICE:-$(find "$here/../../target" -path "*/debug/examples/demo_service" -print -quit)}" "$temp/root/try/service"
install -m 755 "$0" "$temp/root/try/try.sh"
echo "$started" >"$temp/root/try/started"
cat >"$temp/root/etc/systemd/system/try.service" <<'UNIT'
[Unit]
After=prometheus.service nats-server.service
[Service]
Type=oneshot
ExecStart=/bin/bash -c 'bash /try/try.sh inside >/try/log 2>&1; echo $$? >/try/result; systemctl --no-block poweroff'
UNIT
ln -s ../try.service "$temp/root/etc/systemd/system/multi-user.target.wants/try.service"
say "booting it"
nspawn --boot --private-network >"$temp/log" 2>&1 </dev/null || true
cat "$temp/root/try/log" >&2
[ "$(cat "$temp/root/try/result" 2>/dev/null)" = 0 ] || die "failed"
say "all well"
