//! One cable between a generator and a balancer, each in a namespace of its own.

use crate::cores;
use integration::netns::Netns;
use integration::topology::{LB, LB6, interface_index};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// MAC of the balancer's interface.
pub const LB_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
/// MAC of the generator's.
pub const GENERATOR_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x64];

/// The address of real `n`, on a network that has room for 10,000 of them.
pub fn real(n: u16) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(198, 19, 1, 0)) + u32::from(n))
}

/// The same in IPv6.
pub fn real6(n: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0, 0xc, 0, 0, 1, n)
}

/// The MAC of real `n`: the generator counts what comes back by it, and nobody needs to answer.
pub fn real_mac(n: u16) -> String {
    let [high, low] = n.to_be_bytes();
    format!("02:00:00:01:{high:02x}:{low:02x}")
}

/// See the module.
#[derive(Debug)]
pub struct Wire {
    /// Where frames are made and counted.
    pub generator: Netns,
    /// Where the balancer is.
    pub lb: Netns,
    /// Index of the generator's `eth0`.
    pub generator_index: u32,
    /// Index of the balancer's `eth0`.
    pub lb_index: u32,
}

impl Wire {
    /// Lays it; `name` is unique in this run.
    pub fn new(name: &str) -> Wire {
        let generator = Netns::new(&format!("{name}-gen"));
        let lb = Netns::new(&format!("{name}-lb"));
        let (its, ours) = (mac(GENERATOR_MAC), mac(LB_MAC));
        generator.ip(&format!(
            "link add eth0 address {its} type veth peer name eth0 address {ours} netns {}",
            lb.name()
        ));
        for host in [&generator, &lb] {
            // A quiet wire: no router solicitations, no multicast reports, no searching for duplicates.
            for (key, value) in [
                ("router_solicitations", "0"),
                ("accept_ra", "0"),
                ("dad_transmits", "0"),
            ] {
                host.sysctl(&format!("ipv6.conf.eth0.{key}"), value);
            }
            host.sh("ethtool -K eth0 tso off gso off tx off");
            // With it a veth polls, and frames that XDP has sent arrive.
            host.sh("ethtool -K eth0 gro on");
        }
        let networks: [(IpAddr, u8); 4] = [
            (LB.into(), 24),
            (Ipv4Addr::new(198, 19, 0, 2).into(), 16),
            (LB6.into(), 64),
            (Ipv6Addr::new(0x2001, 0xdb8, 0, 0xc, 0, 0, 0, 2).into(), 64),
        ];
        for (address, length) in networks {
            let nodad = if address.is_ipv6() { "nodad" } else { "" };
            lb.ip(&format!("addr add {address}/{length} dev eth0 {nodad}"));
        }
        for host in [&generator, &lb] {
            host.ip("link set eth0 up");
        }
        Wire {
            generator_index: interface_index(&generator),
            lb_index: interface_index(&lb),
            generator,
            lb,
        }
    }

    /// Runs `f` on the generator's side and core.
    pub fn at_generator<T: Send>(&self, f: impl FnOnce() -> T + Send) -> T {
        self.generator.run(|| {
            cores::pin(cores::GENERATOR);
            f()
        })
    }
}

fn mac(bytes: [u8; 6]) -> String {
    bytes.map(|byte| format!("{byte:02x}")).join(":")
}
