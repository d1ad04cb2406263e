#!/usr/bin/env bash
# Packages what was built, with cargo-deb: deb.sh release | debug. Prints the package's path.
set -euo pipefail
cd "$(dirname "$0")/.."

build=${1:?usage: deb.sh release | debug}
tools=$PWD/target/tools

# Little of cargo-deb is needed, and it need not be fast: without its own compressor and not optimised,
# it is built in a fraction of the time.
if [ ! -x "$tools/bin/cargo-deb" ]; then
    CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
        ${CARGO:-cargo} install --quiet --locked --no-default-features --root "$tools" \
        --version 3.8.0 cargo-deb
fi

options=(--no-build --locked --quiet --package lbd --strip --compress-system)
if [ "$build" = debug ]; then
    # Nobody keeps it: a small package would only take longer to make.
    options+=(--profile dev --compress-type gz --fast)
fi
PATH="$tools/bin:$PATH" cargo-deb "${options[@]}"
ls -t target/debian/lbd_*.deb | head -1
