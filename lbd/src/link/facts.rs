//! What this host says about a configuration: its addresses, its gateways, and who listens.

use super::read;
use crate::live::event::Link;
use crate::sys::netlink;
use futures_util::TryStreamExt;
use lbcore::config::{HostFacts, HostInterface, Listener};
use lbcore::net::Protocol;
use rtnetlink::Handle;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteMessage, RouteNextHop, RouteType,
};
use std::collections::HashSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

/// A socket that waits for clients: TCP_LISTEN, and for UDP TCP_CLOSE, which there means "not
/// connected" (net/tcp_states.h).
const LISTENS: [(&str, Protocol, u8); 4] = [
    ("tcp", Protocol::Tcp, 10),
    ("tcp6", Protocol::Tcp, 10),
    ("udp", Protocol::Udp, 7),
    ("udp6", Protocol::Udp, 7),
];

/// Gathers what the configuration's host rules look at, as it is now. Sockets this process has
/// open itself are left out.
pub async fn facts() -> io::Result<HostFacts> {
    let handle = netlink::rtnetlink()?;
    let links = read::links(&handle).await?;
    Ok(HostFacts {
        interfaces: links.into_iter().map(interface).collect(),
        default_gateways: gateways(&handle).await?,
        listening: listening()?,
    })
}

fn interface(link: Link) -> HostInterface {
    HostInterface {
        name: link.name,
        addresses: link.addresses,
    }
}

async fn gateways(handle: &Handle) -> io::Result<Vec<IpAddr>> {
    let mut gateways = Vec::new();
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut all = RouteMessage::default();
        all.header.address_family = family;
        let routes: Vec<RouteMessage> = handle
            .route()
            .get(all)
            .execute()
            .try_collect()
            .await
            .map_err(io::Error::other)?;
        let defaults = routes.iter().filter(|route| {
            route.header.destination_prefix_length == 0 && route.header.kind == RouteType::Unicast
        });
        defaults.for_each(|route| gateways.extend(next_hops(&route.attributes)));
    }
    gateways.sort_unstable();
    gateways.dedup();
    Ok(gateways)
}

fn next_hops(attributes: &[RouteAttribute]) -> Vec<IpAddr> {
    let many = |hops: &[RouteNextHop]| {
        hops.iter()
            .flat_map(|hop| next_hops(&hop.attributes))
            .collect()
    };
    attributes
        .iter()
        .flat_map(|attribute| match attribute {
            RouteAttribute::Gateway(RouteAddress::Inet(v4)) => vec![IpAddr::V4(*v4)],
            RouteAttribute::Gateway(RouteAddress::Inet6(v6)) => vec![IpAddr::V6(*v6)],
            RouteAttribute::MultiPath(hops) => many(hops),
            _ => Vec::new(),
        })
        .collect()
}

fn listening() -> io::Result<Vec<Listener>> {
    let own = own_sockets();
    let mut listeners = Vec::new();
    for (file, protocol, state) in LISTENS {
        // `/proc/net` shows the namespace of the process's first thread, this one that of ours.
        let text = match std::fs::read_to_string(Path::new("/proc/thread-self/net").join(file)) {
            // A kernel without IPv6 has no such file.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            other => other?,
        };
        let sockets = text.lines().skip(1).filter_map(socket);
        let waiting = sockets.filter(|found| found.state == state && !own.contains(&found.inode));
        listeners.extend(waiting.map(|found| Listener {
            ip: found.ip,
            port: found.port,
            protocol,
        }));
    }
    listeners.sort_unstable_by_key(|listener| (listener.protocol, listener.port, listener.ip));
    listeners.dedup();
    Ok(listeners)
}

/// Inodes of this process's sockets.
fn own_sockets() -> HashSet<u64> {
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else {
        return HashSet::new();
    };
    let targets = entries
        .flatten()
        .filter_map(|entry| std::fs::read_link(entry.path()).ok());
    targets
        .filter_map(|target| {
            target
                .to_str()?
                .strip_prefix("socket:[")?
                .strip_suffix(']')?
                .parse()
                .ok()
        })
        .collect()
}

struct Socket {
    ip: IpAddr,
    port: u16,
    state: u8,
    inode: u64,
}

/// One line of /proc/net/tcp and its kin: `sl local remote st tx:rx tr:when retrnsmt uid timeout
/// inode`, an address as hexadecimal words in host order (proc_pid_net(5)).
fn socket(line: &str) -> Option<Socket> {
    let mut words = line.split_ascii_whitespace();
    let (address, port) = words.nth(1)?.split_once(':')?;
    let state = words.nth(1)?;
    let inode = words.nth(5)?;
    let word = |at: usize| {
        let hex = address.get(at * 8..at * 8 + 8)?;
        Some(u32::from_str_radix(hex, 16).ok()?.to_ne_bytes())
    };
    let ip = match address.len() {
        8 => IpAddr::V4(Ipv4Addr::from(word(0)?)),
        32 => {
            let bytes = [word(0)?, word(1)?, word(2)?, word(3)?].concat();
            let v6 = Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?);
            IpAddr::V6(v6).to_canonical()
        }
        _ => return None,
    };
    Some(Socket {
        ip,
        port: u16::from_str_radix(port, 16).ok()?,
        state: u8::from_str_radix(state, 16).ok()?,
        inode: inode.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::netns::{Netns, ip};
    use std::process::{Command, Stdio};

    #[test]
    #[cfg(target_endian = "little")]
    fn reads_a_line_of_each_family() {
        let v4 = "   0: 0A0200C0:01BB 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0000 100 0 0 10 0";
        let found = socket(v4).expect("a socket");
        assert_eq!(
            (found.ip, found.port),
            ("192.0.2.10".parse().expect("an address"), 443)
        );
        assert_eq!((found.state, found.inode), (10, 4711));
        let v6 = " 1: B80D0120000000000000000010000000:0035 00000000000000000000000000000000:0000 07 0:0 0:0 0 0 0 12 2";
        let found = socket(v6).expect("a socket");
        assert_eq!(
            (found.ip, found.port),
            ("2001:db8::10".parse().expect("an address"), 53)
        );
        for broken in ["", "sl local_address", "0: 0A0200:01BB x 0A", &v4[..40]] {
            assert!(socket(broken).is_none(), "{broken:?}");
        }
    }

    #[test]
    fn says_what_this_host_is() {
        let Some(netns) = Netns::new() else { return };
        netns.block_on(|| async {
            let own = std::net::TcpListener::bind("127.0.0.1:0").expect("a socket");
            ip("link add lbdf0 type veth peer name lbdf1");
            ip("link set lbdf0 up");
            ip("link set lbdf1 up");
            ip("addr add 192.0.2.5/24 dev lbdf0");
            ip("addr add 2001:db8::5/64 dev lbdf0 nodad");
            ip("route add default nexthop via 192.0.2.1 dev lbdf0 nexthop via 192.0.2.2 dev lbdf0");
            ip("route add 10.0.0.0/8 via 192.0.2.9");
            ip("-6 route add default via 2001:db8::1");
            let script = "import socket,sys\n\
                          t=socket.create_server(('192.0.2.5',4430)); u=socket.socket(type=socket.SOCK_DGRAM); u.bind(('',5300))\n\
                          print(flush=True); sys.stdin.read()";
            let other = Command::new("python3")
                .args(["-c", script])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn();
            let Ok(mut other) = other else {
                println!("skipped: no python3 to play the other program");
                return;
            };
            let mut ready = String::new();
            let stdout = other.stdout.take().expect("piped");
            std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut ready)
                .expect("says it is ready");

            let facts = facts().await.expect("facts");
            drop(other.stdin.take());
            other.wait().expect("ends");
            let parse = |text: &str| text.parse::<IpAddr>().expect("an address");
            let own_ports: Vec<u16> = facts.listening.iter().map(|l| l.port).collect();
            assert_eq!(own_ports, [4430, 5300], "ours, {own:?}, is left out");
            assert_eq!(facts.listening[0].ip, parse("192.0.2.5"));
            assert_eq!(facts.listening[1].protocol, Protocol::Udp);
            let gateways = ["192.0.2.1", "192.0.2.2", "2001:db8::1"].map(parse);
            assert_eq!(facts.default_gateways, gateways);
            let device = facts.interfaces.iter().find(|i| i.name == "lbdf0").expect("lbdf0");
            assert!(device.addresses.contains(&(parse("2001:db8::5"), 64)));
        });
    }
}
