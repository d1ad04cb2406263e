#!/usr/bin/env bash
# The package in a throw-away root: installed, looked at, upgraded under a running lbd, removed and
# purged. The root is this host's files with a layer in memory on top, in namespaces of its own: the
# host keeps what it has, and the kernel takes everything back at the end.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ "$(id -u)" -ne 0 ]; then
    echo "skipped: the package's test needs root"
    exit 0
fi
if [ "${1:-}" != inside ]; then
    package=$(ls -t target/debian/lbd_*.deb | head -1)
    lintian --allow-root --fail-on error "$package"
    exec unshare --mount --net --pid --fork --kill-child "$0" inside "$package"
fi

package=$2
# Nobody else sees what is mounted here.
layer=/mnt
mount -t tmpfs tmpfs "$layer"
mkdir -p "$layer"/{upper,work,root}
mount -t overlay overlay -o "lowerdir=/,upperdir=$layer/upper,workdir=$layer/work" "$layer/root"
root=$layer/root
mount -t tmpfs tmpfs "$root/run"
mount -t tmpfs tmpfs "$root/tmp"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
cp "$package" "$root/tmp/lbd.deb"
# The same package as a later version.
dpkg-deb -R "$package" "$layer/next"
sed -i 's/^Version: .*/Version: 99.0/' "$layer/next/DEBIAN/control"
dpkg-deb -Znone -b "$layer/next" "$root/tmp/next.deb" >/dev/null
# A machine that was booted by systemd, with a systemctl that only writes down what it is told to do.
# What it says of files on disk is true.
mkdir -p "$root/run/systemd/system"
systemctl=$root$(readlink -f "$(command -v systemctl)")
mv "$systemctl" "$systemctl.real"
cat >"$systemctl" <<'STUB'
#!/bin/sh
echo "$*" >>/tmp/systemctl
case " $* " in
    *" is-active "*) pidof lbd >/dev/null ;;
    *" is-enabled "* | *" preset "*) SYSTEMD_OFFLINE=1 exec "$0.real" "$@" ;;
esac
STUB
chmod 755 "$systemctl"
# Slim images leave out manual pages and documents.
rm -rf "$root"/etc/dpkg/dpkg.cfg.d
# A container that starts no services says so there.
rm -f "$root/usr/sbin/policy-rc.d"
cp scripts/test-deb-inside.sh "$root/tmp/"
exec chroot "$root" /bin/bash /tmp/test-deb-inside.sh
