//! Client, balancer and server, each in a namespace of its own: two networks, and the balancer
//! between them is the server's way back to the client.

use crate::process::PROXY_CORE;
use integration::netns::{Netns, run};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::process::Command;

/// What clients dial; nobody owns it.
pub const VIP: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 10), 80);
/// The real server: another network, another port.
pub const REAL: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(203, 0, 113, 2), 8080);

/// See the module.
pub struct Network {
    /// The client, 198.51.100.2.
    pub client: Netns,
    /// The balancer: eth0 towards the client, eth1 towards the server.
    pub balancer: Netns,
    /// The real server.
    pub server: Netns,
}

impl Network {
    /// Builds it.
    pub fn new() -> Network {
        let net = Network {
            client: Netns::new("cl"),
            balancer: Netns::new("lb"),
            server: Netns::new("sv"),
        };
        for (host, its, lb_interface) in [
            (&net.client, "198.51.100", "eth0"),
            (&net.server, "203.0.113", "eth1"),
        ] {
            host.ip(&format!(
                "link add eth0 type veth peer name {lb_interface} netns lb"
            ));
            host.ip(&format!("addr add {its}.2/24 dev eth0"));
            net.balancer
                .ip(&format!("addr add {its}.1/24 dev {lb_interface}"));
            host.ip("link set eth0 up");
            net.balancer.ip(&format!("link set {lb_interface} up"));
            host.ip(&format!("route add default via {its}.1"));
        }
        net.receive_on(PROXY_CORE);
        net.balancer.sysctl("ipv4.ip_forward", "1");
        net.balancer.sysctl("ipv4.conf.all.rp_filter", "0");
        for host in [&net.client, &net.balancer, &net.server] {
            // Tens of thousands of connections leave from one address.
            host.sysctl("ipv4.ip_local_port_range", "1024 65535");
            host.sysctl("core.somaxconn", "65535");
            // Whatever this host's is: BBR paces by timers, and what limits a stream then is no
            // proxy. reno alone is allowed in every namespace.
            host.sysctl("ipv4.tcp_congestion_control", "reno");
            host.sysctl("ipv4.tcp_max_syn_backlog", "65535");
        }
        net
    }

    /// What the balancer receives is handled on `core`, where its proxy runs, as with a network
    /// card of its own. veth alone would have the sender's core do it, and client and server
    /// would be the limit.
    fn receive_on(&self, core: usize) {
        for interface in ["eth0", "eth1"] {
            // `ip netns exec`, since /sys shows the namespace it was mounted in.
            let write = format!(
                "echo {:x} >/sys/class/net/{interface}/queues/rx-0/rps_cpus",
                1_u64 << core
            );
            let lb = self.balancer.name();
            run(Command::new("ip").args(["netns", "exec", lb, "sh", "-c", &write]));
        }
    }

    /// What a transparent proxy on `port` needs and HAProxy does not bring: rules, a route.
    ///
    /// The `tproxy` rule comes before `socket transparent`: it alone hands a SYN whose tuple is in
    /// TIME_WAIT to a listener on another port. The other way round every such SYN is lost.
    pub fn intercept(&self, port: u16) {
        let (vip, vip_port) = (VIP.ip(), VIP.port());
        self.balancer.nft(&format!(
            "table inet bench {{
                chain prerouting {{
                    type filter hook prerouting priority mangle; policy accept;
                    ip daddr {vip} tcp dport {vip_port} tproxy ip to :{port} meta mark set 1 accept
                    meta l4proto tcp socket transparent 1 meta mark set 1 accept
                }}
            }}"
        ));
        self.balancer.ip("rule add fwmark 1 lookup 100");
        self.balancer
            .ip("route add local 0.0.0.0/0 dev lo table 100");
    }
}

/// Where a client reaches the server with no proxy between.
pub fn direct() -> SocketAddr {
    REAL.into()
}
