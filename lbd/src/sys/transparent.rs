//! Sockets of the transparent proxy: they hold addresses that are not this host's, a VIP towards
//! clients and a client's address towards reals. All are non-blocking and closed on exec. They
//! need CAP_NET_RAW or CAP_NET_ADMIN, and the rules of `lbd/src/intercept` for packets to reach
//! them.

use super::check;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::io;
use std::mem;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;

/// A TCP listener on exactly `address`, which need not be this host's. Any number of them share
/// it (SO_REUSEPORT): the kernel spreads connections over them by a hash of their addresses.
/// Accepted sockets inherit TCP_NODELAY, and IP_TRANSPARENT, by which the interception knows
/// them. `backlog` is cut by the kernel to `net.core.somaxconn`.
///
/// # Errors
/// `EPERM` without the capability; `EADDRINUSE` if a socket that does not share is on it.
pub fn listen(address: SocketAddr, backlog: i32) -> io::Result<Socket> {
    let socket = held(address, Type::STREAM)?;
    socket.set_tcp_nodelay(true)?;
    socket.listen(backlog)?;
    Ok(socket)
}

/// A TCP socket to connect to a real. With a `source` the real will see that address, whosever it
/// is; the port is chosen at connect, so that one port serves once a real instead of once in all
/// (IP_BIND_ADDRESS_NO_PORT). Without one, the connection is this host's own. SO_REUSEADDR lets
/// other sockets bind where these are, as HAProxy's does.
///
/// # Errors
/// Here: `EPERM` without the capability, `EINVAL` if `domain` is not the source's. At connect:
/// `EADDRNOTAVAIL` when no port is left between this source and that real.
pub fn dial_from(source: Option<IpAddr>, domain: Domain) -> io::Result<Socket> {
    let socket = open(domain, Type::STREAM)?;
    socket.set_tcp_nodelay(true)?;
    if let Some(source) = source {
        let source = of_domain(SocketAddr::new(source, 0), domain)?;
        transparent(&socket, domain)?;
        socket.set_reuse_address(true)?;
        bind_address_no_port(&socket)?;
        socket.bind(&source)?;
    }
    Ok(socket)
}

/// A UDP socket on exactly `address`, which need not be this host's; shared as by [`listen`]. What
/// it sends leaves from `address`.
///
/// # Errors
/// As [`listen`].
pub fn udp_listen(address: SocketAddr) -> io::Result<Socket> {
    held(address, Type::DGRAM)
}

/// A UDP socket to connect to a real, which will see `source`, whosever it is. Its port is nobody
/// else's: of two sockets with the same four numbers only one would get the answers. With port 0
/// the kernel chooses one. Connect at once: until then it gets any real's datagrams.
///
/// # Errors
/// `EPERM` without the capability; `EADDRINUSE` when the given port is taken, or none is left.
pub fn udp_from(source: SocketAddr) -> io::Result<Socket> {
    let domain = Domain::for_address(source);
    let socket = open(domain, Type::DGRAM)?;
    transparent(&socket, domain)?;
    socket.bind(&source.into())?;
    Ok(socket)
}

/// Bound to `address` together with others.
fn held(address: SocketAddr, kind: Type) -> io::Result<Socket> {
    let domain = Domain::for_address(address);
    let socket = open(domain, kind)?;
    transparent(&socket, domain)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

fn open(domain: Domain, kind: Type) -> io::Result<Socket> {
    let protocol = if kind == Type::STREAM {
        Protocol::TCP
    } else {
        Protocol::UDP
    };
    let socket = Socket::new(domain, kind.nonblocking(), Some(protocol))?;
    if domain == Domain::IPV6 {
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}

fn transparent(socket: &Socket, domain: Domain) -> io::Result<()> {
    if domain == Domain::IPV6 {
        socket.set_ip_transparent_v6(true)
    } else {
        socket.set_ip_transparent_v4(true)
    }
}

fn of_domain(address: SocketAddr, domain: Domain) -> io::Result<SockAddr> {
    if Domain::for_address(address) == domain {
        Ok(address.into())
    } else {
        Err(io::ErrorKind::InvalidInput.into())
    }
}

/// An option of level IP for both families (ip(7), since Linux 4.2).
fn bind_address_no_port(socket: &Socket) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: `on` is valid for reads of its size during the call; the option takes an integer.
    check(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_IP,
            libc::IP_BIND_ADDRESS_NO_PORT,
            std::ptr::from_ref(&on).cast(),
            mem::size_of_val(&on) as libc::socklen_t,
        )
    })
    .map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::netns::Netns;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::time::Duration;

    const SOON: Duration = Duration::from_secs(5);
    const FAMILIES: [(&str, &str, &str); 2] = [
        ("192.0.2.1", "203.0.113.10", "198.51.100.7"),
        ("2001:db8::1", "2001:db8:1::10", "2001:db8:2::7"),
    ];

    fn at(address: &str, port: u16) -> SocketAddr {
        SocketAddr::new(address.parse().expect("an address"), port)
    }

    /// A peer that is client and real at once, and a balancer that takes in whatever arrives there.
    /// Neither the VIPs nor the clients' addresses of [`FAMILIES`] are the balancer's.
    fn topology() -> Option<(Netns, Netns)> {
        let (peer, balancer) = (Netns::new()?, Netns::new()?);
        peer.ip("link add lbdt1 type veth peer name lbdt0");
        peer.ip(&format!("link set lbdt0 netns {}", balancer.path()));
        for (netns, device, host) in [(&peer, "lbdt1", 1), (&balancer, "lbdt0", 5)] {
            netns.ip(&format!("link set {device} up"));
            netns.ip(&format!("addr add 192.0.2.{host}/24 dev {device}"));
            netns.ip(&format!("addr add 2001:db8::{host}/64 dev {device} nodad"));
        }
        peer.ip("route add default via 192.0.2.5");
        peer.ip("-6 route add default via 2001:db8::5");
        for family in ["-4", "-6"] {
            balancer.ip(&format!("{family} rule add pref 1 iif lbdt0 lookup 100"));
            balancer.ip(&format!(
                "{family} route add local default dev lo table 100"
            ));
        }
        // Neighbour discovery would be taken in, too, and asked of nobody.
        balancer.ip("-6 rule add pref 0 iif lbdt0 ipproto ipv6-icmp lookup main");
        Some((peer, balancer))
    }

    fn blocking(socket: Socket) -> Socket {
        socket.set_nonblocking(false).expect("blocking");
        socket.set_read_timeout(Some(SOON)).expect("a timeout");
        socket
    }

    fn connect(source: Option<IpAddr>, to: SocketAddr) -> io::Result<TcpStream> {
        let socket = blocking(dial_from(source, Domain::for_address(to))?);
        socket.connect(&to.into())?;
        Ok(socket.into())
    }

    #[test]
    fn a_listener_accepts_for_an_address_that_is_not_here() {
        let Some((peer, balancer)) = topology() else {
            return;
        };
        for (_, vip, _) in FAMILIES {
            let listeners = balancer.run(move || {
                [1, 2].map(|_| listen(at(vip, 443), 16).expect("two share the address"))
            });
            let mut client = peer.run(move || {
                let stream = TcpStream::connect_timeout(&at(vip, 443), SOON).expect("connected");
                assert_eq!(stream.peer_addr().expect("connected"), at(vip, 443));
                stream
            });
            let mut accepted: TcpStream = listeners
                .iter()
                .find_map(|listener| listener.accept().ok())
                .map(|(socket, _)| socket.into())
                .expect("one of them has it");
            assert_eq!(accepted.local_addr().expect("bound"), at(vip, 443));
            assert!(accepted.nodelay().expect("asked"), "inherited");
            client.write_all(b"hello").expect("sent");
            let mut told = [0; 5];
            accepted.read_exact(&mut told).expect("received");
            assert_eq!(&told, b"hello");
        }
    }

    #[test]
    fn t36_a_real_sees_the_borrowed_address() {
        let Some((peer, balancer)) = topology() else {
            return;
        };
        for (real, _, client) in FAMILIES {
            let listener = peer.run(move || TcpListener::bind(at(real, 80)).expect("bound"));
            let source = at(client, 0).ip();
            balancer.run(move || drop(connect(Some(source), at(real, 80)).expect("connected")));
            let (_, seen) = listener.accept().expect("accepted");
            assert_eq!(seen.ip(), source);

            let datagrams = peer.run(move || UdpSocket::bind(at(real, 53)).expect("bound"));
            datagrams.set_read_timeout(Some(SOON)).expect("a timeout");
            let from = at(client, 4321);
            let asking: UdpSocket = balancer.run(move || {
                let socket = blocking(udp_from(from).expect("bound"));
                socket.connect(&at(real, 53).into()).expect("connected");
                socket.send(b"hello").expect("sent");
                socket.into()
            });
            let (_, seen) = datagrams.recv_from(&mut [0; 16]).expect("received");
            assert_eq!(seen, from);
            datagrams.send_to(b"answer", seen).expect("sent");
            assert_eq!(asking.recv(&mut [0; 16]).expect("answered"), 6);
        }
    }

    #[test]
    fn a_datagram_to_a_vip_is_answered_from_there() {
        let Some((peer, balancer)) = topology() else {
            return;
        };
        for (_, vip, _) in FAMILIES {
            let server: UdpSocket =
                balancer.run(move || blocking(udp_listen(at(vip, 53)).expect("bound")).into());
            let client = peer.run(move || {
                let unspecified = if at(vip, 0).is_ipv4() {
                    "0.0.0.0"
                } else {
                    "::"
                };
                let socket = UdpSocket::bind(at(unspecified, 0)).expect("bound");
                socket.set_read_timeout(Some(SOON)).expect("a timeout");
                socket.connect(at(vip, 53)).expect("a route");
                socket
            });
            client.send(b"hello").expect("sent");
            let (_, from) = server.recv_from(&mut [0; 16]).expect("received");
            server.send_to(b"answer", from).expect("sent");
            assert_eq!(client.recv(&mut [0; 16]).expect("answered"), 6);
        }
    }

    /// Connects from one borrowed address to two reals in turn until both refuse.
    fn connections(source: IpAddr, reals: [SocketAddr; 2]) -> (Vec<TcpStream>, Vec<io::Error>) {
        let (mut open, mut errors) = (Vec::new(), Vec::new());
        for real in reals.into_iter().cycle() {
            match connect(Some(source), real) {
                Ok(stream) => open.push(stream),
                Err(error) => errors.push(error),
            }
            if errors.len() == 2 {
                break;
            }
        }
        (open, errors)
    }

    #[test]
    fn t37_a_port_serves_once_a_real() {
        let Some((peer, balancer)) = topology() else {
            return;
        };
        balancer.run(|| {
            let range = "/proc/sys/net/ipv4/ip_local_port_range";
            std::fs::write(range, "40000 40099").expect("this thread's namespace");
        });
        for (real, _, client) in FAMILIES {
            let reals = [at(real, 80), at(real, 81)];
            let _listeners = peer.run(move || {
                reals.map(|real| {
                    let socket = Socket::new(Domain::for_address(real), Type::STREAM, None);
                    let socket = socket.expect("a socket");
                    socket.bind(&real.into()).expect("bound");
                    socket.listen(128).expect("listening");
                    socket
                })
            });
            let source = at(client, 0).ip();
            let (open, errors) = balancer.run(move || {
                let since = std::time::Instant::now();
                let made = connections(source, reals);
                println!("{} connections in {:?}", made.0.len(), since.elapsed());
                made
            });
            assert_eq!(open.len(), 200);
            for error in errors {
                assert_eq!(error.kind(), io::ErrorKind::AddrNotAvailable, "{error}");
            }
        }
    }

    #[test]
    fn udp_ports_the_kernel_chooses_are_never_shared() {
        let Some(netns) = Netns::new() else {
            return;
        };
        netns.run(|| {
            let range = "/proc/sys/net/ipv4/ip_local_port_range";
            std::fs::write(range, "40000 40099").expect("this thread's namespace");
            for (_, _, client) in FAMILIES {
                let _taken: Vec<_> = (0..100)
                    .map(|_| udp_from(at(client, 0)).expect("a port"))
                    .collect();
                let error = udp_from(at(client, 0)).expect_err("no port is left");
                assert_eq!(error.kind(), io::ErrorKind::AddrInUse, "{error}");
            }
        });
    }

    #[test]
    fn a_given_udp_port_is_never_shared() {
        let Some(netns) = Netns::new() else {
            return;
        };
        netns.run(|| {
            for (_, _, client) in FAMILIES {
                let _first = udp_from(at(client, 4321)).expect("free");
                let error = udp_from(at(client, 4321)).expect_err("taken");
                assert_eq!(error.kind(), io::ErrorKind::AddrInUse, "{error}");
            }
        });
    }

    #[test]
    fn t38_a_tuple_that_waits_stands_in_the_way_of_its_own_real_only() {
        let Some((peer, balancer)) = topology() else {
            return;
        };
        balancer.run(|| {
            let range = "/proc/sys/net/ipv4/ip_local_port_range";
            std::fs::write(range, "40000 40000").expect("this thread's namespace");
        });
        for (real, _, client) in FAMILIES {
            let reals = [at(real, 80), at(real, 81)];
            let listeners = peer.run(move || reals.map(|r| TcpListener::bind(r).expect("bound")));
            let source = Some(at(client, 0).ip());
            let dial = |number: usize| {
                balancer.run(move || connect(source, reals[number]).map_err(|e| e.kind()))
            };
            let first = dial(0).expect("connected");
            assert_eq!(
                dial(0).expect_err("the only port is taken"),
                io::ErrorKind::AddrNotAvailable
            );
            let (mut accepted, _) = listeners[0].accept().expect("accepted");
            drop(first);
            assert_eq!(accepted.read(&mut [0]).expect("the end"), 0);
            // Only now has it the last acknowledgement to wait for.
            drop(accepted);
            dial(1).expect("another real, another tuple");
            assert_eq!(
                dial(0).expect_err("in TIME_WAIT"),
                io::ErrorKind::AddrNotAvailable
            );
        }
    }

    #[test]
    fn a_source_of_the_other_family_is_refused() {
        let source = Some(at("2001:db8::1", 0).ip());
        let error = dial_from(source, Domain::IPV4).expect_err("refused");
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
}
