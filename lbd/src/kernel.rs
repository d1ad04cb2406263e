//! What the kernel can do of what lbd uses: tried, not read off its version, since distributions carry
//! features back and leave others out. `docs/kernels.md` has the versions.

use crate::sys::datagrams;
use crate::sys::packet_socket::PacketSocket;
use lbcore::config::{Config, Mode};
use lbcore::net::Protocol;
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::AsFd;
use std::thread;

/// An EtherType for local experiments (IEEE 802, 0x88b5): no traffic has it.
const NO_TRAFFIC: libc::c_int = 0x88b5;

/// What a configuration asks of the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Frames are received and sent: a service in mode dr, or an interface on which VIPs are answered for.
    pub frames: bool,
    /// A service in mode tproxy.
    pub proxied: bool,
    /// One of them by udp.
    pub datagrams: bool,
}

impl Needs {
    /// Those of a configuration.
    pub fn of(config: &Config) -> Self {
        let has = |wanted: fn(&lbcore::config::Service) -> bool| config.services.iter().any(wanted);
        Needs {
            frames: !config.network.interfaces.is_empty(),
            proxied: has(|s| s.mode == Mode::Tproxy),
            datagrams: has(|s| s.mode == Mode::Tproxy && s.protocol == Protocol::Udp),
        }
    }
}

/// Something the kernel cannot do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lack {
    /// Its name.
    pub what: &'static str,
    /// Since when kernels have it, or what switches it on.
    pub since: &'static str,
    /// What that means here.
    pub effect: &'static str,
    /// lbd cannot do its work without.
    pub vital: bool,
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.what, self.since, self.effect)
    }
}

/// A feature, and how it is tried.
struct Feature {
    lack: Lack,
    wanted: fn(Needs) -> bool,
    attempt: fn() -> io::Result<()>,
}

const FEATURES: [Feature; 5] = [
    Feature {
        lack: Lack {
            what: "packet sockets with TPACKET_V2 and PACKET_VNET_HDR",
            since: "Linux 2.6.27 with CONFIG_PACKET",
            effect: "no frame can be received or sent",
            vital: true,
        },
        wanted: |needs| needs.frames,
        attempt: || {
            let socket = PacketSocket::new()?;
            socket.carry_virtio_header()?;
            socket.ring_version(libc::tpacket_versions::TPACKET_V2)
        },
    },
    Feature {
        lack: Lack {
            what: "PACKET_IGNORE_OUTGOING",
            since: "Linux 4.20",
            effect: "own frames run through the receive filter, which drops them: some CPU",
            vital: false,
        },
        wanted: |needs| needs.frames,
        attempt: || PacketSocket::new()?.ignore_outgoing(),
    },
    Feature {
        lack: Lack {
            what: "PACKET_FANOUT_FLAG_IGNORE_OUTGOING",
            since: "Linux 6.2",
            effect: "with several workers own frames run through the receive filter, which drops \
                     them: some CPU",
            vital: false,
        },
        wanted: |needs| needs.frames,
        attempt: || {
            let socket = PacketSocket::new()?;
            socket.bind(0, NO_TRAFFIC)?;
            let kind = libc::PACKET_FANOUT_HASH | libc::PACKET_FANOUT_FLAG_UNIQUEID;
            // Without it there is none of the flags to be missed.
            match socket.join_fanout(0, kind | libc::PACKET_FANOUT_FLAG_IGNORE_OUTGOING) {
                Err(error) if is_absence(&error) && socket.join_fanout(0, kind).is_err() => Ok(()),
                other => other,
            }
        },
    },
    Feature {
        lack: Lack {
            what: "IP_TRANSPARENT",
            since: "Linux 2.6.28",
            effect: "no connection can be proxied",
            vital: true,
        },
        wanted: |needs| needs.proxied,
        attempt: || {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
            socket2::SockRef::from(&socket).set_ip_transparent_v4(true)
        },
    },
    Feature {
        lack: Lack {
            what: "UDP_GRO",
            since: "Linux 5.0",
            effect: "proxied datagrams are moved one by one: more CPU",
            vital: false,
        },
        wanted: |needs| needs.datagrams,
        attempt: || {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
            datagrams::join_received(socket.as_fd())
        },
    },
];

/// What `needs` asks for and the kernel does not have. What cannot be tried (no privilege, no
/// descriptors) counts as there: whoever uses it will say so.
pub fn lacks(needs: Needs) -> Vec<Lack> {
    let wanted = FEATURES.iter().filter(|f| (f.wanted)(needs));
    // All at once: a packet socket that closes waits until no core can see it any more, and a start
    // after a crash is short of nothing but time.
    thread::scope(|scope| {
        let attempts: Vec<_> = wanted
            .map(|feature| (scope.spawn(feature.attempt), feature.lack))
            .collect();
        let ended = attempts
            .into_iter()
            .map(|(attempt, lack)| (attempt.join(), lack));
        ended
            .filter(|(tried, _)| matches!(tried, Ok(Err(error)) if is_absence(error)))
            .map(|(_, lack)| lack)
            .collect()
    })
}

/// Whether the kernel does not know what was asked for.
fn is_absence(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::EINVAL
                | libc::ENOPROTOOPT
                | libc::EAFNOSUPPORT
                | libc::EPROTONOSUPPORT
                | libc::EOPNOTSUPP
                | libc::ENOSYS
        )
    )
}

/// Its release, as `uname -r` says it.
pub fn release() -> String {
    let text = std::fs::read_to_string("/proc/sys/kernel/osrelease");
    text.map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::netns::Netns;

    #[test]
    fn the_kernel_of_the_tests_lacks_nothing() {
        let Some(netns) = Netns::new() else { return };
        let all = Needs {
            frames: true,
            proxied: true,
            datagrams: true,
        };
        assert_eq!(netns.run(move || lacks(all)), []);
        assert!(release().starts_with(|c: char| c.is_ascii_digit()));
    }

    #[test]
    fn what_is_refused_for_another_reason_is_no_absence() {
        for (errno, absent) in [
            (libc::ENOPROTOOPT, true),
            (libc::EAFNOSUPPORT, true),
            (libc::EPERM, false),
            (libc::EMFILE, false),
        ] {
            let error = io::Error::from_raw_os_error(errno);
            assert_eq!(is_absence(&error), absent, "{error}");
        }
    }

    #[test]
    fn only_what_is_configured_is_asked_of_the_kernel() {
        let needs = |toml: &str| Needs::of(&lbcore::config::check(toml).expect("good").config);
        let dr = needs(include_str!("../../config/dr-minimal.toml"));
        assert!(dr.frames && !dr.proxied && !dr.datagrams);
        let tproxy = needs(include_str!("../../config/tproxy.toml"));
        assert!(tproxy.proxied);
    }
}
