#!/usr/bin/env bash
# Counts the instructions the director executes for a packet (valgrind's callgrind, no I/O, no clock)
# and fails when one case takes more than 3 % over what scripts/instructions.txt says.
# instructions.sh --write renews that file: after a change that is worth its price, or a new compiler.
set -euo pipefail
cd "$(dirname "$0")/.."

known=scripts/instructions.txt
allowed=3 # per cent

${CARGO:-cargo} build --quiet --release --package lbcore --features instructions --bin instructions
program=target/release/instructions
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

count() {
    local said frames total
    said=$(valgrind --tool=callgrind --callgrind-out-file=/dev/null --toggle-collect='*pass_frames*' \
        "$program" "$1" 2>"$scratch/log") || {
        cat "$scratch/log" >&2
        return 1
    }
    frames=$(sed -n 's/ frames$//p' <<<"$said")
    total=$(sed -n 's/.*Collected : *//p' "$scratch/log")
    echo $(((total + frames / 2) / frames))
}

failed=0
for case in known-v4 known-v6 new-v4 new-v6; do
    now=$(count "$case")
    before=$(sed -n "s/^$case //p" "$known" 2>/dev/null || true)
    echo "$case $now" >>"$scratch/now"
    echo "instructions for a packet, $case: $now${before:+ (written down: $before)}"
    if [ -n "$before" ] && [ $((now * 100)) -gt $((before * (100 + allowed))) ]; then
        failed=1
    fi
done

if [ "${1:-}" = --write ]; then
    cp "$scratch/now" "$known"
elif [ $failed -ne 0 ]; then
    echo "more than $allowed % over $known: find out why, or renew it with scripts/instructions.sh --write" >&2
    exit 1
fi
