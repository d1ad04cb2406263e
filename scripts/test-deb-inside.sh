#!/usr/bin/env bash
# What test-deb.sh does in its root.
set -euo pipefail
export PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive
cd /tmp

fail() {
    echo "the package: $*" >&2
    exit 1
}
# What systemctl was told since the last time.
told() {
    cat /tmp/systemctl 2>/dev/null || true
    rm -f /tmp/systemctl
}
expect_told() {
    grep -qE -- "$2" <<<"$1" || fail "systemctl was not told \`$2\`, but: $1"
}
expect_not_told() {
    ! grep -qE -- "$2" <<<"$1" || fail "systemctl was told \`$2\`: $1"
}

# --- installed
dpkg -i lbd.deb >/dev/null
words=$(told)
expect_told "$words" 'start lbd.service'
for file in /usr/bin/lbd /usr/bin/lbctl /etc/lbd/lbd.toml /usr/lib/systemd/system/lbd.service \
    /usr/lib/sysusers.d/lbd.conf /usr/lib/tmpfiles.d/lbd.conf \
    /usr/lib/systemd/networkd.conf.d/lbd.conf /usr/share/man/man8/lbd.8.gz \
    /usr/share/man/man1/lbctl.1.gz /usr/share/man/man1/lbctl-real-drain.1.gz \
    /usr/share/man/man5/lbd.toml.5.gz /usr/share/bash-completion/completions/lbctl \
    /usr/share/zsh/vendor-completions/_lbctl /usr/share/fish/vendor_completions.d/lbctl.fish \
    /usr/share/lbd/lbd.schema.json /usr/share/doc/lbd/examples/tproxy.toml \
    /usr/share/doc/lbd/examples/prometheus/lbd.rules.yml; do
    [ -s "$file" ] || fail "$file is not there"
done
[ "$(dpkg-query -W -f '${db:Status-Abbrev}' lbd)" = "ii " ] || fail "dpkg does not call it installed"
dpkg-query -W -f '${Conffiles}' lbd | grep -q '/etc/lbd/lbd.toml' || fail "lbd.toml is no conffile"
getent passwd lbd | grep -q '/usr/sbin/nologin$' || fail "no user lbd without a login"
[ "$(stat -c '%U:%G %a' /etc/lbd)" = "root:lbd 770" ] || fail "/etc/lbd: $(stat -c '%U:%G %a' /etc/lbd)"
[ -L /etc/systemd/system/multi-user.target.wants/lbd.service ] || fail "the unit is not enabled"
systemd-analyze verify /usr/lib/systemd/system/lbd.service || fail "the unit has mistakes"
lbd --config /etc/lbd/lbd.toml --check 2>/dev/null || fail "its configuration is bad"
[ -z "$(lbd --print-rules | sed '/^#/d;/^$/d')" ] || fail "its configuration takes something"
lbctl config check /usr/share/doc/lbd/examples/lbd.toml 2>/dev/null || fail "a sample is bad"

# --- upgraded under a running lbd, with a changed configuration
ip link set lo up
ip link add eth0 type veth peer name wire
ip address add 192.0.2.1/24 dev eth0
ip link set eth0 up
ip link set wire up
cat >/etc/lbd/lbd.toml <<'TOML'
[network]
interface = "eth0"
flow_entries = 1024
ring_mib = 1

[[service]]
name = "web"
vip  = "192.0.2.10"
port = 80

[[service.real]]
address = "192.0.2.21"
TOML
cp /etc/lbd/lbd.toml mine.toml
lbd >lbd.log 2>&1 &
lbd=$!
for _ in $(seq 100); do
    lbctl health >/dev/null 2>&1 && break
    lbctl status >/dev/null 2>&1 && break
    sleep 0.1
done
lbctl status >/dev/null || fail "lbd does not run: $(cat lbd.log)"
nft list tables | grep -q lbd || fail "lbd has no guard: $(nft list tables)"
words=$(dpkg -i next.deb)
grep -q 'systemctl restart lbd' <<<"$words" || fail "an upgrade does not say how to restart: $words"
expect_not_told "$(told)" '(stop|restart|start|reload) lbd'
kill -0 "$lbd" || fail "the upgrade stopped lbd"
lbctl status >/dev/null || fail "lbd does not answer after the upgrade"
cmp -s /etc/lbd/lbd.toml mine.toml || fail "the upgrade changed the configuration"

# --- removed: what a killed lbd has left goes, the configuration stays
kill -KILL "$lbd"
wait "$lbd" 2>/dev/null || true
nft list tables | grep -q lbd || fail "a killed lbd left nothing to remove"
told >/dev/null
dpkg -r lbd >/dev/null
expect_told "$(told)" 'stop lbd.service'
! nft list tables | grep -q lbd || fail "removed, and its rules stand: $(nft list tables)"
[ ! -e /usr/bin/lbd ] || fail "removed, and its program is there"
cmp -s /etc/lbd/lbd.toml mine.toml || fail "removed, and so is the configuration"

# --- purged: nothing is left but the user
mkdir -p /var/lib/lbd
echo state >/var/lib/lbd/last-good.toml
dpkg -P lbd >/dev/null
for path in /etc/lbd /var/lib/lbd /etc/systemd/system/multi-user.target.wants/lbd.service \
    /etc/systemd/system/lbd.service; do
    [ ! -e "$path" ] && [ ! -L "$path" ] || fail "purged, and $path is there"
done
! dpkg-query -W lbd >/dev/null 2>&1 || fail "purged, and dpkg knows it"
getent passwd lbd >/dev/null || fail "purged, and the user is gone"
echo "the package: installed, upgraded, removed and purged"
