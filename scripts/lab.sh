#!/usr/bin/env bash
# The demo's network, left up to play in: lab.sh up | shell [NAMESPACE] | down
set -euo pipefail
cd "$(dirname "$0")/.."

state=target/lab
mkdir -p "$state"

# The process that holds the namespaces; the kernel takes everything down with it.
keeper() {
    local pid
    pid=$(cat "$state/pid" 2>/dev/null) || return 1
    [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = unshare ] && echo "$pid"
}

inside() {
    local pid first user=()
    pid=$(keeper) || { echo "no lab is up: make lab" >&2; exit 1; }
    first=$(cat "/proc/$pid/task/$pid/children")
    [ "$(id -u)" -eq 0 ] || user=(--user --preserve-credentials)
    exec nsenter --target "${first// /}" "${user[@]}" --mount --pid --net "$@"
}

case "${1:-}" in
    up)
        if keeper >/dev/null; then
            echo "the lab is up already"
        else
            setsid target/debug/demo lab </dev/null >"$state/log" 2>&1 &
            echo $! >"$state/pid"
            for _ in $(seq 300); do
                grep -q '^export LBCTL_SOCKET' "$state/log" && break
                keeper >/dev/null || break
                sleep 0.1
            done
            keeper >/dev/null || { cat "$state/log" >&2; exit 1; }
        fi
        cat "$state/log"
        cat <<'HINT'
scripts/lab.sh shell cl     a shell on the client: curl http://192.0.2.10/
scripts/lab.sh shell lb     a shell where lbd runs: lbctl status, tcpdump -ni eth0
scripts/lab.sh shell rs1    a shell on a real server; far1: on one behind lbd, VIP 192.0.2.11
make lab-down               takes it all away
HINT
        ;;
    shell)
        export PATH="$PWD/target/debug:$PATH:/usr/sbin:/sbin"
        eval "$(grep '^export LBCTL_SOCKET' "$state/log")"
        inside nsenter --net="/run/netns/${2:-cl}" "${SHELL:-/bin/bash}"
        ;;
    down)
        if pid=$(keeper); then
            kill -KILL "$pid"
        fi
        rm -rf "$state"
        ;;
    *)
        echo "usage: lab.sh up | shell [NAMESPACE] | down" >&2
        exit 2
        ;;
esac
