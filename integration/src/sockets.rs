//! TCP sockets of a namespace, as the kernel lists them: whoever owns them, and those nobody owns
//! any more.

use crate::netns::NetnsHandle;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// States of `include/net/tcp_states.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum State {
    Established = 1,
    SynSent,
    SynReceived,
    FinWait1,
    FinWait2,
    TimeWait,
    Close,
    CloseWait,
    LastAck,
    Listen,
    Closing,
    NewSynReceived,
}

impl State {
    fn of(number: u8) -> Option<State> {
        use State::*;
        [
            Established,
            SynSent,
            SynReceived,
            FinWait1,
            FinWait2,
            TimeWait,
            Close,
            CloseWait,
            LastAck,
            Listen,
            Closing,
            NewSynReceived,
        ]
        .into_iter()
        .find(|state| *state as u8 == number)
    }
}

/// One socket.
#[derive(Clone, Copy, Debug)]
pub struct TcpSocket {
    /// Its own end.
    pub local: SocketAddr,
    /// The other end.
    pub remote: SocketAddr,
    /// Its state.
    pub state: State,
}

/// All TCP sockets in `netns`, of both families.
///
/// # Panics
/// When the kernel's list is not what it is known to be.
pub fn tcp(netns: &NetnsHandle) -> Vec<TcpSocket> {
    let read = |name: &str| std::fs::read_to_string(format!("/proc/thread-self/net/{name}"));
    let tables = netns.run(|| ["tcp", "tcp6"].map(|name| read(name).unwrap_or_default()));
    let lines = tables.iter().flat_map(|table| table.lines().skip(1));
    lines
        .map(|line| parse(line).unwrap_or_else(|| panic!("a socket: {line}")))
        .collect()
}

/// How many are in `state`.
pub fn count(sockets: &[TcpSocket], state: State) -> usize {
    sockets.iter().filter(|s| s.state == state).count()
}

/// Sockets that somebody holds or that hold memory: neither listening nor only remembered.
pub fn alive(sockets: &[TcpSocket]) -> Vec<TcpSocket> {
    let gone = [State::Listen, State::TimeWait, State::Close];
    let alive = sockets.iter().filter(|s| !gone.contains(&s.state));
    // lbd's metrics page, which the tests themselves look at.
    alive
        .filter(|s| !s.local.ip().is_loopback())
        .copied()
        .collect()
}

fn parse(line: &str) -> Option<TcpSocket> {
    let mut words = line.split_whitespace().skip(1);
    Some(TcpSocket {
        local: address(words.next()?)?,
        remote: address(words.next()?)?,
        state: State::of(u8::from_str_radix(words.next()?, 16).ok()?)?,
    })
}

/// `0A000001:1F90`: words of the address in the machine's byte order, the port in the network's.
fn address(word: &str) -> Option<SocketAddr> {
    let (ip, port) = word.split_once(':')?;
    let mut bytes = Vec::new();
    for at in (0..ip.len()).step_by(8) {
        bytes.extend(
            u32::from_str_radix(ip.get(at..at + 8)?, 16)
                .ok()?
                .to_ne_bytes(),
        );
    }
    let ip = match <[u8; 4]>::try_from(bytes.as_slice()) {
        Ok(v4) => IpAddr::from(Ipv4Addr::from(v4)),
        Err(_) => Ipv6Addr::from(<[u8; 16]>::try_from(bytes.as_slice()).ok()?).into(),
    };
    Some(SocketAddr::new(
        ip.to_canonical(),
        u16::from_str_radix(port, 16).ok()?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_either_table_is_read() {
        let v4 = "0: 0100007F:1F90 0200000A:D431 08 00000000:00000000 00:00000000 0 0 0 1 1";
        let socket = parse(v4).expect("a socket");
        assert_eq!(socket.local.to_string(), "127.0.0.1:8080");
        assert_eq!(socket.remote.to_string(), "10.0.0.2:54321");
        assert_eq!(socket.state, State::CloseWait);
        let v6 = "1: B80D0120000000000000000001000000:0050 00000000000000000000000000000000:0000 0A 0:0 0:0 0 0 0 1 1";
        let socket = parse(v6).expect("a socket");
        assert_eq!(socket.local.to_string(), "[2001:db8::1]:80");
        assert_eq!(socket.state, State::Listen);
    }
}
