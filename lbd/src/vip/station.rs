//! One interface's socket and the multicast groups it listens to.

use crate::sys::link_socket::LinkSocket;
use lbcore::net::MacAddr;
use lbcore::vip::multicast_mac;
use socket2::{Domain, Socket, Type};
use std::collections::BTreeSet;
use std::io;
use std::net::Ipv6Addr;
use tracing::debug;

/// An open socket. Everything it joined is left when it is dropped.
pub(super) struct Station {
    socket: LinkSocket,
    /// Has the kernel report our groups to MLD-snooping switches, which else would not send us
    /// solicitations. None where IPv6 is off.
    mld: Option<Socket>,
    groups: BTreeSet<Ipv6Addr>,
}

impl Station {
    /// Opens a socket on `ifindex`.
    pub(super) fn open(ifindex: u32) -> io::Result<Self> {
        Ok(Station {
            socket: LinkSocket::open(ifindex)?,
            mld: Socket::new(Domain::IPV6, Type::DGRAM, None).ok(),
            groups: BTreeSet::new(),
        })
    }

    /// The interface.
    pub(super) fn ifindex(&self) -> u32 {
        self.socket.ifindex()
    }

    /// Listens to exactly these groups. What cannot be joined is left at that: where the NIC hears
    /// everything or no switch snoops, it still works.
    pub(super) fn listen(&mut self, groups: BTreeSet<Ipv6Addr>) {
        let ifindex = self.ifindex();
        let socket = &self.socket;
        let report = |group: &Ipv6Addr, did: &str, result: io::Result<()>| {
            if let Err(error) = result {
                debug!(%group, ifindex, %error, "{did}");
            }
        };
        for group in groups.difference(&self.groups) {
            report(group, "the interface did not join", socket.join(mac(group)));
            if let Some(mld) = &self.mld {
                report(
                    group,
                    "MLD does not report",
                    mld.join_multicast_v6(group, ifindex),
                );
            }
        }
        for group in self.groups.difference(&groups) {
            report(
                group,
                "the interface did not leave",
                socket.leave(mac(group)),
            );
            if let Some(mld) = &self.mld {
                report(
                    group,
                    "MLD still reports",
                    mld.leave_multicast_v6(group, ifindex),
                );
            }
        }
        self.groups = groups;
    }

    /// Waits until there may be a frame.
    pub(super) async fn readable(&self) {
        self.socket.readable().await;
    }

    /// One frame into `buffer`; `WouldBlock` if there is none.
    pub(super) fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.receive(buffer)
    }

    /// Sends one frame, or loses it: whoever asked asks again, and announcements come again.
    pub(super) fn send(&self, frame: &[u8]) {
        if let Err(error) = self.socket.send(frame) {
            debug!(ifindex = self.ifindex(), %error, "a frame was not sent");
        }
    }
}

fn mac(group: &Ipv6Addr) -> MacAddr {
    multicast_mac(*group)
}
