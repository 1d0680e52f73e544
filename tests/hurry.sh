#!/usr/bin/env bash
# usage: tests/hurry.sh PID: ends the idle priority of a process and of all that it started.
#
# Beside busy loops of others, a build with idle priority would never end. The parent first: what it starts later inherits its priority.
set -u

hurry() {
    chrt --all-tasks --other --pid 0 "$1" 2>/dev/null || return 0
    local child
    for child in $(pgrep -P "$1"); do hurry "$child"; done
}
hurry "$1"
