#!/usr/bin/env bash
# Whether programs may be loaded into the kernel here, which the engines xdp and af_xdp need.
set -euo pipefail

[ "$(id -u)" -eq 0 ] && unshare --mount mount -t bpf bpf /mnt 2>/dev/null
