#!/usr/bin/env bash
# Runs end-to-end tests, as root or in user namespaces: e2e.sh ENGINE/FILE... -- ENGINE/FILE...
# FILE is one of integration/tests, ENGINE what lbd runs on where a test does not say. As many at a time as
# there are cores: tests mostly wait, for checks, timeouts, drains, and each has namespaces of its own; those
# after -- one after another. What failed is shown at the end, when all have run.
set -euo pipefail
cd "$(dirname "$0")/.."

# All that tests are made of, lbd and lbctl among it, selected as `make unit` does, so that it is built
# once: cargo builds a library with the features that all who are selected want of it.
build() {
    "${CARGO:-cargo}" test --workspace --exclude lbcore "$@"
}

run_file() {
    local engine=${1%/*} file=${1#*/} log=$scratch/${1/\//-} show begin=$SECONDS
    show=$log
    if ! LBD_ENGINE=$engine build --test "$file" -- --test-threads=1 >"$log" 2>&1; then
        show=/dev/null
        echo "$1" >>"$scratch/failed"
    fi
    # One at a time, or lines of two would mix.
    flock "$scratch" cat <(echo "$engine: $file, $((SECONDS - begin)) s") "$show"
}

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export -f build run_file
export scratch

run_files() {
    local jobs=$1
    shift
    printf '%s\n' "$@" | xargs -P "$jobs" -I{} bash -c 'set -euo pipefail; run_file {}'
}

together=()
while [ $# -gt 0 ] && [ "$1" != -- ]; do
    together+=("$1")
    shift
done

build --no-run --quiet
run_files "$(nproc)" "${together[@]}"
run_files 1 "${@:2}"

if [ -e "$scratch/failed" ]; then
    while read -r file; do
        cat "$scratch/${file/\//-}"
    done <"$scratch/failed"
    echo "failed: $(paste -sd ' ' "$scratch/failed")" >&2
    exit 1
fi
