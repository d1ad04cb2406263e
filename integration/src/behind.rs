//! Real servers on a network behind lbd's host, where only the proxy reaches them: `eth1` of a
//! balancer that stands on a switch with its clients, the addresses of [`crate::routed`].

use crate::netns::Netns;
use crate::real_server::{RealServer, Settings};
use crate::routed::{BACK, BACK6, real, real6};
use crate::topology::bring_up;

/// See the module. The namespaces are called `far1`.. as the servers are.
#[derive(Debug)]
pub struct Behind {
    /// The servers; they go before their networks.
    pub servers: Vec<RealServer>,
    reals: Vec<Netns>,
    sw: Netns,
}

impl Behind {
    /// Plugs `lb` into a switch of `reals` real servers, each a `whoami` at `port`.
    pub fn new(lb: &Netns, reals: u8, port: u16) -> Behind {
        let sw = Netns::new("farsw");
        sw.ip("link add br0 type bridge forward_delay 0 stp_state 0 mcast_snooping 0");
        sw.ip("link set br0 up");
        let mut behind = Behind {
            servers: Vec::new(),
            reals: Vec::new(),
            sw,
        };
        behind.plug(lb, "eth1");
        bring_up(lb, "eth1", BACK.into(), BACK6.into());
        for n in 1..=reals {
            let netns = Netns::new(&format!("far{n}"));
            behind.plug(&netns, "eth0");
            bring_up(&netns, "eth0", real(n).into(), real6(n).into());
            netns.ip(&format!("route add default via {BACK}"));
            netns.ip(&format!("route add default via {BACK6}"));
            let settings = Settings {
                name: netns.name().to_owned(),
                port,
                udp_addresses: vec![real(n).into(), real6(n).into()],
            };
            behind
                .servers
                .push(RealServer::start(netns.handle(), settings));
            behind.reals.push(netns);
        }
        behind
    }

    fn plug(&self, netns: &Netns, interface: &str) {
        let port = netns.name();
        self.sw.ip(&format!(
            "link add {port} type veth peer name {interface} netns {port}"
        ));
        self.sw.ip(&format!("link set {port} master br0 up"));
    }
}
