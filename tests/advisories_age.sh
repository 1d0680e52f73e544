#!/usr/bin/env bash
# advisories_age.sh FILE: fails if the check of the advisories that the file tells of (`checked = YYYY-MM-DD`) is 90 days old, or lies in the
# future.
set -euo pipefail

checked=$(sed -n 's/^checked = \([0-9]\{4\}-[0-9]\{2\}-[0-9]\{2\}\)$/\1/p' "$1")
[ -n "$checked" ] || {
    echo "$1 has no line 'checked = YYYY-MM-DD'"
    exit 1
}
today=$(date -u +%F)
age=$((($(date -u -d "$today" +%s) - $(date -u -d "$checked" +%s)) / 86400))
echo "the advisories were checked last on $checked, $age days ago"
[ "$age" -ge 0 ] && [ "$age" -lt 90 ]
