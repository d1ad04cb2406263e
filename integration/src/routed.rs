//! RT: clients, lbd and real servers on networks of their own, as a proxy meets them.
//!
//! ```text
//! cl --------- rtr --------- lb --------- rs1, rs2 ... (by a switch)
//!      .100 .1     .1     .2    .2     .21, .22 ...
//!  198.51.100.0/24   192.0.2.0/24   203.0.113.0/24
//!  2001:db8:1::/64   2001:db8::/64  2001:db8:2::/64
//! ```
//!
//! The router sends what is for the VIPs to lbd's host, which need not have them. The real servers'
//! default route is lbd's host: so the answers to clients' addresses come back through it. It
//! forwards nothing.

use crate::netns::Netns;
use crate::real_server::{RealServer, Settings};
use crate::topology::{LB, LB6, Offloads, VIP, VIP6, bring_up, real_mac};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The client.
pub const CLIENT: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 100);
/// The client in IPv6.
pub const CLIENT6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x100);
/// The router towards lbd.
pub const ROUTER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// The router towards lbd in IPv6.
pub const ROUTER6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
/// lbd's host towards the real servers (`eth1`).
pub const BACK: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 2);
/// lbd's host towards the real servers in IPv6.
pub const BACK6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 2);

/// The router towards the client.
const NEAR: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
const NEAR6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1);

/// Address of real server `n`, counted from 1.
pub fn real(n: u8) -> Ipv4Addr {
    Ipv4Addr::new(203, 0, 113, 20 + n)
}

/// IPv6 address of real server `n`: the last group reads like the last number of its IPv4 address.
pub fn real6(n: u8) -> Ipv6Addr {
    format!("2001:db8:2::{}", 20 + n)
        .parse()
        .expect("decimal digits are hexadecimal digits")
}

/// See the module.
#[derive(Debug)]
pub struct Routed {
    /// The client.
    pub cl: Netns,
    /// The router between client (`eth0`) and lbd (`eth1`).
    pub rtr: Netns,
    /// Where lbd runs: `eth0` towards the router, `eth1` towards the real servers.
    pub lb: Netns,
    /// The real servers `rs1`..; the first is `reals[0]`.
    pub reals: Vec<Netns>,
    sw: Netns,
    offloads: Offloads,
}

impl Routed {
    /// The three networks, with `reals` real servers.
    pub fn new(reals: u8, offloads: Offloads) -> Routed {
        let mut routed = Routed {
            cl: Netns::new("cl"),
            rtr: Netns::new("rtr"),
            lb: Netns::new("lb"),
            reals: Vec::new(),
            sw: Netns::new("sw"),
            offloads,
        };
        let Routed {
            cl, rtr, lb, sw, ..
        } = &routed;
        for key in ["ipv4.ip_forward", "ipv6.conf.all.forwarding"] {
            rtr.sysctl(key, "1");
        }
        sw.ip("link add br0 type bridge forward_delay 0 stp_state 0 mcast_snooping 0");
        sw.ip("link set br0 up");
        routed.cable(cl, "eth0", rtr, "eth0");
        routed.cable(rtr, "eth1", lb, "eth0");
        routed.cable(lb, "eth1", sw, "lb");
        sw.ip("link set lb master br0 up");
        bring_up(cl, "eth0", CLIENT.into(), CLIENT6.into());
        bring_up(rtr, "eth0", NEAR.into(), NEAR6.into());
        bring_up(rtr, "eth1", ROUTER.into(), ROUTER6.into());
        bring_up(lb, "eth0", LB.into(), LB6.into());
        bring_up(lb, "eth1", BACK.into(), BACK6.into());
        default_route(cl, NEAR, NEAR6);
        default_route(lb, ROUTER, ROUTER6);
        rtr.ip(&format!("route add {VIP} via {LB}"));
        rtr.ip(&format!("route add {VIP6} via {LB6}"));
        for n in 1..=reals {
            routed.add_real(n);
        }
        routed
    }

    /// Plugs in real server `n`. It knows nothing of VIPs.
    pub fn add_real(&mut self, n: u8) {
        let name = format!("rs{n}");
        let netns = Netns::new(&name);
        self.cable(&netns, "eth0", &self.sw, &name);
        let mac = real_mac(n);
        netns.ip(&format!("link set eth0 address {mac}"));
        self.sw.ip(&format!("link set {name} master br0 up"));
        bring_up(&netns, "eth0", real(n).into(), real6(n).into());
        default_route(&netns, BACK, BACK6);
        self.reals.push(netns);
    }

    /// `whoami` as real server `n` at `port`, for TCP and UDP.
    pub fn serve(&self, n: u8, port: u16) -> RealServer {
        RealServer::start(
            self.reals[usize::from(n) - 1].handle(),
            Settings {
                name: format!("rs{n}"),
                port,
                udp_addresses: vec![real(n).into(), real6(n).into()],
            },
        )
    }

    /// Gives the client one more address, which it then may call from.
    pub fn add_client(&self, address: impl Into<IpAddr>) {
        let (address, flags) = match address.into() {
            IpAddr::V4(v4) => (format!("{v4}/24"), ""),
            IpAddr::V6(v6) => (format!("{v6}/64"), "nodad"),
        };
        self.cl.ip(&format!("addr add {address} dev eth0 {flags}"));
    }

    fn cable(&self, one: &Netns, one_end: &str, other: &Netns, other_end: &str) {
        let there = other.name();
        one.ip(&format!(
            "link add {one_end} type veth peer name {other_end} netns {there}"
        ));
        self.offloads.apply(one, one_end);
        self.offloads.apply(other, other_end);
    }
}

fn default_route(netns: &Netns, v4: Ipv4Addr, v6: Ipv6Addr) {
    netns.ip(&format!("route add default via {v4}"));
    netns.ip(&format!("route add default via {v6}"));
}
