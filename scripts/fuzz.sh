#!/usr/bin/env bash
# Fuzzes each target, or those named, for SECONDS: fuzz.sh SECONDS [TARGET...]
# FUZZ_SEED=1 tries the same inputs in the same order each time; without it they are others each time.
# These are the flags cargo-fuzz would pass; all of them are stable, so the workspace's compiler
# does, and nothing needs to be installed but a C++ compiler for libFuzzer itself.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:?usage: fuzz.sh SECONDS [TARGET...]}
shift
targets=("$@")
if [ ${#targets[@]} -eq 0 ]; then
    for file in fuzz/fuzz_targets/*.rs; do
        targets+=("$(basename "$file" .rs)")
    done
fi

# With --target, build scripts and macros are built without the coverage flags.
host=$(rustc -vV | sed -n 's/^host: //p')
export RUSTFLAGS="--cfg fuzzing -Cdebug-assertions -Ccodegen-units=1 \
-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
-Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares"
${CARGO:-cargo} build --quiet --release --locked --target "$host" --manifest-path fuzz/Cargo.toml
binaries=fuzz/target/$host/release

fuzz_one() {
    local corpus=fuzz/corpus/$1 seeds=fuzz/seeds/$1 log
    log=$(mktemp)
    mkdir -p "$corpus" "fuzz/artifacts/$1"
    if ! "$binaries/$1" "$corpus" "$seeds" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 \
        -seed="${FUZZ_SEED:-0}" -artifact_prefix="fuzz/artifacts/$1/" >"$log" 2>&1; then
        told "$1" "$log" >&2
        return 1
    fi
    echo "fuzz $1: $(grep -c '' <(ls "$corpus")) inputs kept, $(tail -1 "$log")"
    rm "$log"
}

# What went wrong, and the input: where this runs, nobody may be able to fetch a file.
told() {
    local input
    # What panics may print pages after its reason.
    grep -m 1 -A 3 panicked "$2" || true
    tail -40 "$2"
    input=$(sed -n 's/.*Test unit written to //p' "$2" | tail -1)
    if [ -n "$input" ]; then
        echo "the input, for base64 -d | gunzip:"
        gzip -9 <"$input" | base64
    fi
    echo "fuzz target $1 failed; its input is in fuzz/artifacts/$1"
}
export -f fuzz_one told
export binaries seconds
export RUST_BACKTRACE=0
printf '%s\n' "${targets[@]}" | xargs -P "$(nproc)" -I{} bash -c 'set -euo pipefail; fuzz_one {}'
