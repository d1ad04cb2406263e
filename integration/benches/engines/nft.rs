//! The kernel's own direct routing: nft in the `netdev` family, one rule, a hash over client and port.

use crate::plan::UDP_PORT;
use crate::wire::{LB_MAC, Wire, real_mac};
use integration::topology::VIP;

/// Makes the wire's other end send UDP frames on to one of so many reals.
pub fn balance(wire: &Wire, reals: u16) {
    let entries: Vec<String> = (1..=reals)
        .map(|n| format!("{} : {}", n - 1, real_mac(n)))
        .collect();
    let ours = LB_MAC.map(|byte| format!("{byte:02x}")).join(":");
    wire.lb.nft(&format!(
        "table netdev bench {{
            chain ingress {{
                type filter hook ingress device eth0 priority 0; policy accept;
                ip daddr {VIP} udp dport {UDP_PORT} ether saddr set {ours} \
                ether daddr set jhash ip saddr . udp sport mod {reals} seed 0x5eed map {{ {} }} \
                fwd to eth0
            }}
        }}",
        entries.join(", ")
    ));
}
