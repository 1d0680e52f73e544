#!/usr/bin/env bash
# try.sh IMAGE: goes the way of a Kubernetes user, from the released image archive (….oci.tar) and the manifest app.yaml to the first
# right restart of a pod: loads the image, builds an application's image with the probe in it, and runs three pods of it as the manifest
# says, under kubelet.py, for no kubelet is to be had. Pods that start while NATS is away wait for it, a frozen instance is restarted, one
# that exits is started again, and an outage of NATS restarts nobody.
#
# Needs root, buildah, debootstrap, a nats-server (NATS_SERVER), and a Python with PyYAML and pip (PYTHON; nats-py comes from there). Takes
# about six minutes, most of them the periods of the manifest.
set -euo pipefail

say() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
}

die() {
    say "$*"
    [ ! -f "${temp:-}/pods.log" ] || cat "$temp/pods.log" >&2
    exit 1
}

[[ $# = 1 && -f $1 ]] || die "usage: try.sh IMAGE"
[ "$(id -u)" = 0 ] || die "this needs root"
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
nats_server=${NATS_SERVER:-nats-server} python=${PYTHON:-python3}
temp=$(mktemp -d)
nats='' pods=''
end() {
    kill "$1"
    wait "$1" || true
}
finish() {
    [ -z "$pods" ] || end "$pods"
    [ -z "$nats" ] || end "$nats"
    buildah --storage-driver vfs --root "$temp/storage" --runroot "$temp/run" rm --all >/dev/null 2>&1 || true
    rm -rf "$temp"
} 2>/dev/null
trap finish EXIT

quietly() {
    "$@" >"$temp/log" 2>&1 </dev/null || {
        tail -n 20 "$temp/log" >&2
        die "failed: $*"
    }
}

image() {
    buildah --storage-driver vfs --root "$temp/storage" --runroot "$temp/run" "$@"
}

start_nats() {
    "$nats_server" -a 127.0.0.1 -p "$port" >/dev/null 2>&1 &
    nats=$!
}

# until_said SECONDS PATTERN [TIMES]: waits until the log of the pods has such a line, so many times.
until_said() {
    local start=$SECONDS
    until [ "$(grep -c "$2" "$temp/pods.log")" -ge "${3:-1}" ]; do
        [ $((SECONDS - start)) -lt "$1" ] || die "not within $1 s: $2"
        sleep 0.2
    done
}

say "loading the image, and building an application's with the probe in it"
tag=$(tar -xOf "$1" ./index.json | sed -n 's/.*"org.opencontainers.image.ref.name":"\([^"]*\)".*/\1/p')
quietly image pull "oci-archive:$1${tag:+:$tag}"
probe=$(image images -q | head -n 1)
mkdir "$temp/context"
quietly debootstrap --variant=minbase --include=python3 bookworm "$temp/context/root"
quietly "$python" -m pip install --quiet --target "$temp/context/root/app" nats-py==2.16.0 nkeys==0.2.1
cp "$here/services/orders.py" "$temp/context/root/app/"
cat >"$temp/context/Containerfile" <<END
FROM scratch
COPY root /
COPY --from=$probe /check_nats_service /check_nats_service
END
quietly image build -q --isolation chroot -t orders "$temp/context"
root=$(image mount "$(image from orders)")
say "done after $SECONDS s"

port=$("$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
"$python" "$here/kubelet.py" "$here/app.yaml" "$root" "python3 /app/orders.py" "NATS_URL=nats://127.0.0.1:$port" NATS_CREDS >"$temp/pods.log" 2>&1 &
pods=$!
until_said 60 'startup: startup pass: orders: cannot ask' 3
# Longer than the startup probe stands.
sleep 65
[ "$(grep -c ' started, ' "$temp/pods.log")" = 3 ] || die "a pod was restarted that started while NATS was away"
! grep -q ' ready$' "$temp/pods.log" || die "a pod is ready while NATS is away"
say "three pods started while NATS was away, and wait for it"
start_nats
until_said 60 ' ready$' 3
say "NATS is there: three pods are ready"

victim=$(sed -n 's/.*orders-1 started, process //p' "$temp/pods.log")
frozen=$SECONDS
kill -STOP "$victim"
until_said 60 'orders-1 restarted by its liveness probe'
say "a frozen instance was restarted after $((SECONDS - frozen)) s"
until_said 60 'orders-1 ready$' 2

exited=$SECONDS
kill -KILL "$(sed -n 's/.*orders-2 started, process //p' "$temp/pods.log")"
until_said 10 'orders-2 exited with -9'
until_said 60 'orders-2 ready$' 2
say "an instance that exited was started again, and is ready after $((SECONDS - exited)) s"

away=$SECONDS
end "$nats"
nats=''
until_said 60 ' unready$' 5
say "NATS is away: all pods are unready after $((SECONDS - away)) s"
# Longer than any liveness probe would stand.
sleep 45
start_nats
back=$SECONDS
until_said 60 ' ready$' 8
say "NATS is back: all pods are ready after $((SECONDS - back)) s"
[ "$(grep -c restarted "$temp/pods.log")" = 1 ] || die "somebody was restarted who should not have been"
grep -E "^ *[0-9.]+ orders-" "$temp/pods.log" >&2
say "all well"
