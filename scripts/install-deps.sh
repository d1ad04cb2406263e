#!/usr/bin/env bash
# Makes sure the programs a make target needs are here: install-deps.sh PROGRAM...
# As root, Debian's packages are installed; otherwise it says what to install.
set -euo pipefail

# Without a login shell's PATH, Debian keeps these out of a plain user's sight.
export PATH="$PATH:/usr/sbin:/sbin"

package_of() {
    case "$1" in
        cargo) echo "a Rust toolchain, 1.95 or newer (https://rustup.rs)" ;;
        cc) echo gcc ;;
        ip) echo iproute2 ;;
        nft) echo nftables ;;
        ping) echo iputils-ping ;;
        promtool) echo prometheus ;;
        jsonschema) echo python3-jsonschema ;;
        man) echo man-db ;;
        dpkg-shlibdeps) echo dpkg-dev ;;
        systemd-analyze) echo systemd ;;
        setpriv | unshare | nsenter) echo util-linux ;;
        g++) echo g++ ;;
        *) echo "$1" ;;
    esac
}

command -v cargo >/dev/null || {
    echo "cargo is missing: install $(package_of cargo)" >&2
    exit 1
}

packages=()
for program in "$@"; do
    command -v "$program" >/dev/null || packages+=("$(package_of "$program")")
done
[ ${#packages[@]} -eq 0 ] && exit 0

if [ "$(id -u)" -ne 0 ]; then
    echo "missing programs: as root, run: apt-get install --no-install-recommends ${packages[*]}" >&2
    exit 1
fi
command -v apt-get >/dev/null || {
    echo "missing programs, and no apt-get here: install what Debian calls ${packages[*]}" >&2
    exit 1
}
echo "installing ${packages[*]}"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -qq -y --no-install-recommends "${packages[@]}" >/dev/null
