#!/usr/bin/env bash
# Says what `make test` could not run here, and what to install for it.
set -euo pipefail

cargo deny --version >/dev/null 2>&1 || echo "skipped: cargo deny (cargo install --locked cargo-deny)"
scripts/has-bpf.sh || echo "skipped: the matrix of the engines xdp and af_xdp (needs root and BPF)"
[ "$(id -u)" -eq 0 ] || echo "skipped: the package's test in a root of its own (needs root)"
echo "all else passed"
