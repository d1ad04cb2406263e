#!/usr/bin/env bash
# The systemd unit: no mistakes, and an exposure of 2.5 or better. Nothing is installed or started.
set -euo pipefail
cd "$(dirname "$0")/.."

unit=$(mktemp -d)/lbd.service
trap 'rm -r "$(dirname "$unit")"' EXIT
# `verify` wants the program to exist; what it says of the unit's own lines is what counts.
sed "s|^ExecStart=/usr/bin/lbd|ExecStart=$(command -v true)|" systemd/lbd.service >"$unit"
systemd-analyze verify --man=no "$unit"
systemd-analyze security --offline=true --threshold=25 systemd/lbd.service | tail -1
# With the drop-ins of the XDP engines, whose directives come after the unit's own.
for engine in xdp af-xdp; do
    both=$(dirname "$unit")/lbd-$engine.service
    awk -v drop_in="systemd/lbd-$engine.conf" \
        '/^\[Install\]/ { while ((getline line < drop_in) > 0) if (line !~ /^\[/) print line } { print }' \
        "$unit" >"$both"
    systemd-analyze verify --man=no "$both"
    systemd-analyze security --offline=true --threshold=25 "$both" | tail -1
done
