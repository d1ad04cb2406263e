//! The networks the tests of direct routing run on; proxied services have [`crate::routed`]. Addresses are the same everywhere, so that tests read alike:
//!
//! | who | IPv4 (/24) | IPv6 (/64) | MAC |
//! |---|---|---|---|
//! | client `cl` | 192.0.2.100 | 2001:db8::100 | 02:00:00:00:00:64 |
//! | balancer `lb` | 192.0.2.2 | 2001:db8::2 | 02:00:00:00:00:02 |
//! | real server `rsN` | 192.0.2.(20+N) | 2001:db8::(20+N), in decimal digits | 02:00:00:00:01:N |
//! | VIP | 192.0.2.10 | 2001:db8::10 | that of `lb` |

use crate::conf::RealConf;
use crate::netns::Netns;
use nix::net::if_::if_nametoindex;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The VIP.
pub const VIP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
/// The VIP in IPv6.
pub const VIP6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x10);
/// The client.
pub const CLIENT: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 100);
/// The client in IPv6.
pub const CLIENT6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x100);
/// lbd's own address.
pub const LB: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
/// lbd's own address in IPv6.
pub const LB6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);
/// MAC of lbd's interface.
pub const LB_MAC: &str = "02:00:00:00:00:02";
/// MAC of the client's interface, or of the generator's.
pub const CLIENT_MAC: &str = "02:00:00:00:00:64";

/// Address of real server `n`, counted from 1.
pub fn real(n: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 0, 2, 20 + n)
}

/// IPv6 address of real server `n`: the last group reads like the last number of its IPv4 address.
pub fn real6(n: u8) -> Ipv6Addr {
    format!("2001:db8::{}", 20 + n)
        .parse()
        .expect("decimal digits are hexadecimal digits")
}

/// MAC of real server `n`.
pub fn real_mac(n: u8) -> String {
    format!("02:00:00:00:01:{n:02x}")
}

/// What network cards do for the hosts' stacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offloads {
    /// O1: veth's defaults, with super-frames of up to 64 KiB and unfinished checksums.
    Defaults,
    /// O2: everything off, like a plain wire.
    Off,
}

impl Offloads {
    pub(crate) fn apply(self, netns: &Netns, interface: &str) {
        if self == Offloads::Off {
            netns.sh(&format!(
                "ethtool -K {interface} tso off gso off gro off tx off"
            ));
        }
    }
}

/// SW: a switch with a client, a balancer and real servers on it, one cable each (`eth0`).
#[derive(Debug)]
pub struct Switch {
    /// The client.
    pub cl: Netns,
    /// Where lbd runs.
    pub lb: Netns,
    /// The real servers `rs1`..; the first is `reals[0]`.
    pub reals: Vec<Netns>,
    /// The switch itself; port names are the namespaces' names.
    pub sw: Netns,
    offloads: Offloads,
}

impl Switch {
    /// A switch with `reals` real servers.
    pub fn new(reals: u8, offloads: Offloads) -> Switch {
        let sw = Netns::new("sw");
        sw.ip("link add br0 type bridge forward_delay 0 stp_state 0 mcast_snooping 0");
        sw.ip("link set br0 up");
        // Otherwise the bridge's firewall hooks eat malformed frames and trim padding.
        for family in ["iptables", "ip6tables", "arptables"] {
            let key = format!("bridge.bridge-nf-call-{family}");
            if sw.run(|| std::path::Path::new("/proc/sys/net/bridge").exists()) {
                sw.sysctl(&key, "0");
            }
        }
        let cl = Netns::new("cl");
        let lb = Netns::new("lb");
        let mut switch = Switch {
            cl,
            lb,
            reals: Vec::new(),
            sw,
            offloads,
        };
        switch.plug(&switch.cl, CLIENT_MAC, CLIENT.into(), CLIENT6.into());
        switch.plug_lb();
        for n in 1..=reals {
            switch.add_real(n);
        }
        switch
    }

    /// Plugs in real server `n`, set up as direct routing needs it: VIPs on `lo`, silent about them.
    pub fn add_real(&mut self, n: u8) {
        self.add_machine(n);
        give_vips(&self.reals[self.reals.len() - 1]);
    }

    /// Plugs in machine `n`, with a real server's addresses and as Linux sets it up: it knows nothing
    /// of VIPs.
    pub fn add_machine(&mut self, n: u8) {
        let netns = Netns::new(&format!("rs{n}"));
        for scope in ["all", "default"] {
            netns.sysctl(&format!("ipv4.conf.{scope}.rp_filter"), "0");
        }
        self.plug(&netns, &real_mac(n), real(n).into(), real6(n).into());
        self.reals.push(netns);
    }

    /// Plugs in the balancer (again): a new interface under the old name.
    pub fn plug_lb(&self) {
        self.plug(&self.lb, LB_MAC, LB.into(), LB6.into());
    }

    /// A cable from `netns` (`eth0`) to the switch.
    fn plug(&self, netns: &Netns, mac: &str, v4: IpAddr, v6: IpAddr) {
        let port = netns.name();
        self.sw.ip(&format!(
            "link add {port} type veth peer name eth0 address {mac} netns {port}"
        ));
        self.sw.ip(&format!("link set {port} master br0 up"));
        self.offloads.apply(&self.sw, port);
        self.offloads.apply(netns, "eth0");
        bring_up(netns, "eth0", v4, v6);
    }
}

/// Puts the VIPs on the `lo` of a machine that stays silent about them.
pub fn give_vips(netns: &Netns) {
    for scope in ["all", "default"] {
        netns.sysctl(&format!("ipv4.conf.{scope}.arp_ignore"), "1");
        netns.sysctl(&format!("ipv4.conf.{scope}.arp_announce"), "2");
    }
    netns.ip(&format!("addr add {VIP}/32 dev lo"));
    netns.ip(&format!("addr add {VIP6}/128 dev lo nodad"));
}

/// WIRE: one cable between a generator and the balancer. The generator plays switch, client and
/// real servers, and sees every frame byte for byte.
#[derive(Debug)]
pub struct Wire {
    /// The generator; its interface has the client's addresses.
    pub generator: Netns,
    /// Where lbd runs.
    pub lb: Netns,
}

impl Wire {
    /// The cable, with offloads off: what is sent is what arrives.
    pub fn new() -> Wire {
        let generator = Netns::new("gen");
        let lb = Netns::new("lb");
        generator.ip(&format!(
            "link add eth0 address {CLIENT_MAC} type veth peer name eth0 address {LB_MAC} netns lb"
        ));
        for netns in [&generator, &lb] {
            Offloads::Off.apply(netns, "eth0");
        }
        // A quiet wire: no router solicitations, no multicast reports.
        for netns in [&generator, &lb] {
            netns.sysctl("ipv6.conf.eth0.accept_ra", "0");
            netns.sysctl("ipv6.conf.eth0.router_solicitations", "0");
        }
        bring_up(&generator, "eth0", CLIENT.into(), CLIENT6.into());
        bring_up(&lb, "eth0", LB.into(), LB6.into());
        Wire { generator, lb }
    }

    /// Another cable of the balancer's, `eth1` with MAC `02:00:00:00:00:03`, and what is at its other end.
    pub fn second_cable(&self) -> Netns {
        let far = Netns::new("far");
        self.lb
            .ip("link add eth1 address 02:00:00:00:00:03 type veth peer name eth0 netns far");
        for (netns, interface) in [(&self.lb, "eth1"), (&far, "eth0")] {
            Offloads::Off.apply(netns, interface);
        }
        self.lb.ip("addr add 198.51.100.2/24 dev eth1");
        self.lb.ip("link set eth1 up");
        far.ip("link set eth0 up");
        far
    }
}

/// A real server there, with its MAC given.
pub fn at_the_far_end() -> RealConf {
    let real = RealConf::new("rs1", Ipv4Addr::new(198, 51, 100, 21));
    real.pinned(1).with("interface", "\"eth1\"")
}

impl Default for Wire {
    fn default() -> Wire {
        Wire::new()
    }
}

/// Gives an interface its addresses, and starts it.
pub(crate) fn bring_up(netns: &Netns, interface: &str, v4: IpAddr, v6: IpAddr) {
    // While a link-local address is being asked for (a second or two), the kernel sends no
    // neighbour solicitations of its own accord.
    netns.sysctl(&format!("ipv6.conf.{interface}.dad_transmits"), "0");
    netns.ip(&format!("addr add {v4}/24 dev {interface}"));
    netns.ip(&format!("addr add {v6}/64 dev {interface} nodad"));
    netns.ip(&format!("link set {interface} up"));
}

/// Index of `eth0` in `netns`.
pub fn interface_index(netns: &Netns) -> u32 {
    netns
        .run(|| if_nametoindex("eth0"))
        .expect("every namespace has an eth0")
}
