set -eu
LC_ALL=C PATH=$PATH:/usr/sbin:/sbin
export LC_ALL PATH

# What was done since the last boot. `before`: sysctls as they were; `made`: what was put here;
# `for.SERVICE`: what each service needs. So several services share a machine, and the last one out
# leaves it as it was.
state=${LBD_REALSERVER_STATE:-/run/lbd-realserver}

# At every boot.
keep=/etc/lbd-realserver
units=/etc/systemd/system
unit=lbd-realserver-$service.service

# The rule and routing table of the way back through lbd.
preference=77
table=7103077

say() { printf '%s\n' "$*"; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

listed() { [ -e "$2" ] && grep -qxF -- "$1" "$2"; }
list() { listed "$1" "$2" || printf '%s\n' "$1" >>"$2"; }
unlist() {
    grep -vxF -- "$1" "$2" >"$state/new" || :
    mv "$state/new" "$2"
}

# What this machine needs for the service, a line each.
needs() {
    case $mode in
    dr)
        for vip in $vips4; do say "address $vip/32"; done
        for vip in $vips6; do say "address $vip/128"; done
        ;;
    tproxy)
        for gateway in $gateways; do
            family=-4
            case $gateway in *:*) family=-6 ;; esac
            say "route $family $gateway"
            for port in $ports; do say "rule $family $protocol $port"; done
        done
        ;;
    esac
}

there() {
    case $1 in
    address) ip -o address show dev lo to "$2" | grep -qF " $2 " ;;
    route) ip "$2" route show table $table 2>/dev/null | grep -q "^default via $3 " ;;
    rule) ip "$2" rule show | grep -Eq "^$preference:.* ipproto $3 sport $4 lookup $table( |\$)" ;;
    esac
}

change() {
    verb=$1
    shift
    case $1 in
    address)
        case $2 in
        *:*) set -- -6 address "$verb" "$2" dev lo nodad ;;
        *) set -- -4 address "$verb" "$2" dev lo ;;
        esac
        # `nodad` is for adding alone.
        if [ "$verb" = del ]; then set -- "$1" address del "$4" dev lo; fi
        ;;
    route) set -- "$2" route "$verb" default via "$3" table $table ;;
    rule) set -- "$2" rule "$verb" preference $preference ipproto "$3" sport "$4" lookup $table ;;
    esac
    ip "$@" || return 1
    say "ip $*"
}

put() {
    # shellcheck disable=SC2086 # a line is words
    if there $1; then return; fi
    # First the note, then the deed: what is cut short can be undone.
    list "$1" "$state/made"
    # shellcheck disable=SC2086
    change add $1 || {
        unlist "$1" "$state/made"
        die "that failed; what was done before stays. This takes it back: sh $0 undo"
    }
}

take_back() {
    for other in "$state"/for.*; do
        [ "$other" = "$state/for.$service" ] || ! listed "$1" "$other" || return 0
    done
    listed "$1" "$state/made" || return 0
    # shellcheck disable=SC2086
    ! there $1 || change del $1 || die "it stays; the rest, too: try again"
    unlist "$1" "$state/made"
}

# For a sysctl the larger of `all` and the interface's own holds, so `all` will do.
set_sysctl() {
    path=/proc/sys/net/ipv4/conf/all/$1
    was=$(cat "$path")
    case " $3 " in *" $was "*) return ;; esac
    listed "$1 $was $2" "$state/before" || printf '%s\n' "$1 $was $2" >>"$state/before"
    printf '%s\n' "$2" >"$path"
    say "net.ipv4.conf.all.$1: $was, now $2"
}

restore_sysctls() {
    [ -e "$state/before" ] || return 0
    # What was noted first is what was there before us.
    for key in arp_ignore arp_announce; do
        line=$(grep "^$key " "$state/before" | head -n 1)
        [ -n "$line" ] || continue
        was=${line#* }
        ours=${was#* }
        was=${was% *}
        path=/proc/sys/net/ipv4/conf/all/$key
        if [ "$(cat "$path")" = "$ours" ]; then
            printf '%s\n' "$was" >"$path"
            say "net.ipv4.conf.all.$key: $was again"
        else
            say "net.ipv4.conf.all.$key: somebody else has set it meanwhile, it stays"
        fi
    done
}

# Whether kube-proxy serves this address on this machine: its dummy interface (ipvs), its chains
# (iptables) or its map (nftables).
kube_proxy_has() {
    exactly="(^|[^0-9a-f.:])$(printf '%s' "$1" | sed 's/[.]/[.]/g')([^0-9a-f.:]|\$)"
    {
        ip -o address show dev kube-ipvs0 2>/dev/null || :
        { iptables-save 2>/dev/null || :; } | grep '^-A KUBE-' || :
        { ip6tables-save 2>/dev/null || :; } | grep '^-A KUBE-' || :
        nft list map ip kube-proxy service-ips 2>/dev/null || :
        nft list map ip6 kube-proxy service-ips 2>/dev/null || :
    } | grep -Eq -- "$exactly"
}

check_vip() {
    if kube_proxy_has "$1"; then
        die "kube-proxy serves $1 on this machine: it takes the packets without any of this, and
       an address on lo would come before it. Nothing was changed. In ipvs mode it needs
       ipvs.strictARP: true in kube-proxy's configuration; else there is nothing to do"
    fi
    ip -o address show to "$1" | while read -r _ device _ address _; do
        case $device:$address in
        lo:"$1"/32 | lo:"$1"/128) ;;
        lo:*) die "lo has $address, which is more than $1 alone: ip address del $address dev lo" ;;
        *)
            ip -d link show dev "$device" | grep -qw dummy ||
                die "$device has $1, and so answers for it on the network: ip address del $address dev $device"
            ;;
        esac
    done
}

check() {
    [ "$(id -u)" -eq 0 ] || die "this needs root"
    command -v ip >/dev/null || die "this needs ip: install iproute2"
    case $mode in
    dr)
        for vip in $vips4 $vips6; do check_vip "$vip" || exit 1; done
        if [ -n "$vips6" ] && [ "$(cat /proc/sys/net/ipv6/conf/lo/disable_ipv6 2>/dev/null)" != 0 ]; then
            die "IPv6 is off on lo, and $service has the VIPs $vips6: sysctl -w net.ipv6.conf.lo.disable_ipv6=0"
        fi
        ;;
    tproxy)
        for gateway in $gateways; do
            family=-4
            case $gateway in *:*) family=-6 ;; esac
            for other in "$state"/for.*; do
                [ "$other" != "$state/for.$service" ] || continue
                if [ -e "$other" ] && grep "^route $family " "$other" | grep -qvxF "route $family $gateway"; then
                    die "${other##*/for.} has another way back on this machine: ip $family route show table $table"
                fi
            done
        done
        ;;
    esac
    mine=no
    for real in $reals; do
        [ -z "$(ip -o address show to "$real")" ] || mine=yes
    done
    [ $mine = yes ] || [ -z "$reals" ] ||
        say "note: no address of this machine is a real server of $service ($reals)"
}

# Strict filtering matters where there are two ways.
note_rp_filter() {
    [ "$(ip -o -4 address show up scope global | grep -cv ': lo ')" -gt 1 ] || return 0
    for path in /proc/sys/net/ipv4/conf/*/rp_filter; do
        name=${path%/rp_filter}
        name=${name##*/}
        case $name in lo | default) continue ;; esac
        [ "$(cat "$path")" != 1 ] ||
            say "note: rp_filter of $name is strict: clients whose way back is another interface are not heard; 2 would do: sysctl -w net.ipv4.conf.$name.rp_filter=2"
    done
}

apply() {
    check
    mkdir -p "$state"
    if [ -n "$vips4" ]; then
        # Before the address is there: nobody must hear of it. 8 answers nobody at all.
        set_sysctl arp_ignore 1 "1 2 8"
        set_sysctl arp_announce 2 "2"
    fi
    needs >"$state/wanted"
    if [ -e "$state/for.$service" ]; then
        while read -r line; do
            listed "$line" "$state/wanted" || take_back "$line"
        done <"$state/for.$service"
    fi
    mv "$state/wanted" "$state/for.$service"
    while read -r line; do put "$line"; done <"$state/for.$service"
    note_rp_filter
    say "ready: this machine is a real server of $service"
}

persist() {
    [ -d /run/systemd/system ] ||
        die "systemd does not run here: let what starts your machine run this script, and leave out persist"
    { [ -f "$0" ] && grep -q '^# A real server of lbd' "$0"; } ||
        die "this comes from a pipe: save it to a file, then: sh FILE persist"
    apply
    mkdir -p $keep
    cp "$0" "$keep/$service.sh.new"
    mv "$keep/$service.sh.new" "$keep/$service.sh"
    cat >"$units/$unit" <<END
[Unit]
Description=This machine as a real server of $service
After=systemd-sysctl.service $after
Wants=$after

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh $keep/$service.sh apply

[Install]
WantedBy=multi-user.target
END
    systemctl daemon-reload
    systemctl enable --quiet "$unit"
    say "and at every boot: $unit"
}

undo() {
    [ "$(id -u)" -eq 0 ] || die "this needs root"
    if [ -e "$state/for.$service" ]; then
        while read -r line; do take_back "$line"; done <"$state/for.$service"
        rm "$state/for.$service"
        if ! ls "$state"/for.* >/dev/null 2>&1; then
            restore_sysctls
            rm -f "$state/before" "$state/made" "$state/new" "$state/wanted"
            rmdir "$state"
        fi
    fi
    if [ -e "$units/$unit" ]; then
        systemctl disable --quiet "$unit"
        rm -f "$units/$unit" "$keep/$service.sh"
        rmdir $keep 2>/dev/null || :
        systemctl daemon-reload
    fi
    say "undone: nothing of this script is left for $service"
}

main() {
    case ${1:-$default} in
    apply) apply ;;
    persist) persist ;;
    undo) undo ;;
    *) die "usage: sh $0 [apply | persist | undo]; without a word: $default" ;;
    esac
}

# The last line: a script that came in half does nothing.
main "$@"
