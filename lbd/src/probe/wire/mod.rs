//! Frames of our own: probes that travel the path of direct routing. They carry the VIP as their
//! destination and the MAC of one real, as clients' frames do behind the director.
//!
//! A socket of this host cannot ask so while the host owns the VIP: the local table wins on the way
//! out, and an answer from an address of its own is a martian on the way in. So TCP and UDP are
//! spoken here (by `smoltcp`), over a packet socket. The kernel knows nothing of these connections
//! and would reset them: the guard keeps answers of served endpoints to [`PROBE_PORTS`] from it.

mod datagrams;
mod ear;
mod stack;
mod stream;

pub(super) use datagrams::Datagrams;
pub(super) use stream::connect;

use super::ProbeError;
use crate::sys::link_socket::PROBE_PORTS;
use ear::Ear;
use lbcore::net::{FlowKey, MacAddr, Protocol, ServiceKey};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};

/// Packets of one probe that wait, and bytes of them: the largest datagram there is. TCP sends again
/// what does not fit; a real that floods us gets no further.
const WAITING: usize = 64;
const WAITING_BYTES: usize = 64 * 1024;

/// Where reals are, and who we are there: what probes along the path need.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hops {
    /// Interface and MAC by a real's address, as direct routing knows them.
    pub reals: BTreeMap<IpAddr, (u32, MacAddr)>,
    /// Interfaces by index.
    pub ports: BTreeMap<u32, Port>,
    /// No probe comes from these.
    pub vips: BTreeSet<IpAddr>,
}

/// An interface of this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// Its MAC.
    pub mac: MacAddr,
    /// In bytes.
    pub mtu: u32,
    /// Its addresses with prefix lengths.
    pub addresses: Vec<(IpAddr, u8)>,
}

/// The way of one probe.
#[derive(Clone, Debug)]
pub(super) struct Road {
    ear: Arc<Ear>,
    /// The Ethernet header of every frame.
    header: [u8; 14],
    mtu: usize,
    source: IpAddr,
    vip: SocketAddr,
}

/// All packet sockets of probes, one an interface, opened when first needed.
#[derive(Debug)]
pub(super) struct Wires {
    hops: watch::Receiver<Arc<Hops>>,
    ears: Mutex<BTreeMap<u32, Arc<Ear>>>,
}

impl PartialEq for Wires {
    /// One is as good as another: what differs is where it is used.
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Wires {
    pub(super) fn new(hops: watch::Receiver<Arc<Hops>>) -> Self {
        let ears = Mutex::default();
        Wires { hops, ears }
    }

    /// The way to `vip` at `real`, from `source` or an address of ours. What is missing for it is
    /// our own trouble. A real's MAC is learned beside its first check: it is waited for, as long as
    /// `patience` says.
    pub(super) async fn road(
        &self,
        real: IpAddr,
        vip: SocketAddr,
        source: Option<IpAddr>,
        patience: Duration,
    ) -> Result<Road, ProbeError> {
        let own = |words: String| Err(ProbeError::Own(words));
        let mut hops = self.hops.clone();
        let known = hops.wait_for(|hops| hops.reals.contains_key(&real));
        // Without a sender there is nothing to wait for.
        let _ = tokio::time::timeout(patience, known).await.map(drop);
        let hops = self.hops.borrow().clone();
        let Some((ifindex, mac)) = hops.reals.get(&real) else {
            return own(format!("the MAC address of {real} is not known yet"));
        };
        let Some(port) = hops.ports.get(ifindex) else {
            return own(format!("the interface towards {real} is gone"));
        };
        let source = match source {
            Some(source) if !hops.owns(source) => {
                return own(format!("this host has no address {source} to check from"));
            }
            Some(source) => source,
            None => match hops.source(port, real, vip.ip()) {
                Some(source) => source,
                None => {
                    return own(format!(
                        "{} has no address that is no VIP to ask {} from",
                        port.name,
                        vip.ip()
                    ));
                }
            },
        };
        let kind = if vip.is_ipv4() { [8, 0] } else { [0x86, 0xdd] };
        let mut header = [0; 14];
        header[..6].copy_from_slice(&mac.octets());
        header[6..12].copy_from_slice(&port.mac.octets());
        header[12..].copy_from_slice(&kind);
        Ok(Road {
            ear: self.ear(*ifindex).map_err(ProbeError::Socket)?,
            header,
            mtu: usize::try_from(port.mtu)
                .unwrap_or(usize::MAX)
                .min(MOST_MTU),
            source,
            vip,
        })
    }

    fn ear(&self, ifindex: u32) -> std::io::Result<Arc<Ear>> {
        let mut ears = self.ears.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(ear) = ears.get(&ifindex).filter(|ear| ear.hears()) {
            return Ok(ear.clone());
        }
        // Interfaces that are gone, and this one if it was made anew.
        ears.retain(|_, ear| ear.hears());
        let ear = Arc::new(Ear::open(ifindex)?);
        ears.insert(ifindex, ear.clone());
        Ok(ear)
    }
}

/// A probe has no use for larger packets, and smoltcp computes with 16 bits.
const MOST_MTU: usize = 9_000;

impl Hops {
    fn owns(&self, address: IpAddr) -> bool {
        let mut all = self.ports.values().flat_map(|port| &port.addresses);
        all.any(|(own, _)| *own == address)
    }

    /// The address of `port` that is nearest to the real, or to the VIP where that is of another
    /// family; never a VIP.
    fn source(&self, port: &Port, real: IpAddr, vip: IpAddr) -> Option<IpAddr> {
        let near = |own: IpAddr, prefix: u8| {
            [real, vip]
                .iter()
                .any(|other| same_network(own, *other, prefix))
        };
        let usable = port
            .addresses
            .iter()
            .filter(|(own, _)| own.is_ipv4() == vip.is_ipv4() && !self.vips.contains(own));
        let rank = |(own, prefix): &&(IpAddr, u8)| {
            let link_local = matches!(own, IpAddr::V6(v6) if v6.is_unicast_link_local());
            (!near(*own, *prefix), link_local)
        };
        usable.min_by_key(rank).map(|(own, _)| *own)
    }
}

fn same_network(one: IpAddr, other: IpAddr, prefix: u8) -> bool {
    let differ = |bits: u128, width: u8| {
        bits.checked_shr(u32::from(width.saturating_sub(prefix)))
            .unwrap_or(0)
            != 0
    };
    match (one, other) {
        (IpAddr::V4(a), IpAddr::V4(b)) => !differ(u128::from(a.to_bits() ^ b.to_bits()), 32),
        (IpAddr::V6(a), IpAddr::V6(b)) => !differ(a.to_bits() ^ b.to_bits(), 128),
        _ => false,
    }
}

/// What comes back.
#[derive(Debug)]
enum Heard {
    /// A packet of the flow, from the IP header on, and the room it takes.
    Packet(Vec<u8>, OwnedSemaphorePermit),
    /// An ICMP error: nobody takes what we sent.
    Refused,
}

/// A port of ours towards one endpoint, and what comes back to it, for as long as it is held.
#[derive(Debug)]
struct Call {
    road: Road,
    port: u16,
    key: FlowKey,
    heard: mpsc::Receiver<Heard>,
}

impl Call {
    fn new(road: Road, protocol: Protocol) -> Result<Self, ProbeError> {
        /// Ports are used in turn, so that a real has forgotten one before it is used again.
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let (sender, heard) = mpsc::channel(WAITING);
        let span = PROBE_PORTS.end() - PROBE_PORTS.start();
        for _ in 0..=span {
            let port = PROBE_PORTS.start() + (NEXT.fetch_add(1, Ordering::Relaxed) & span);
            let key = FlowKey {
                client: road.vip.ip().into(),
                client_port: road.vip.port(),
                service: ServiceKey {
                    vip: road.source.into(),
                    port,
                    protocol,
                },
            };
            if road.ear.listen(key, &sender) {
                return Ok(Call {
                    road,
                    port,
                    key,
                    heard,
                });
            }
        }
        Err(ProbeError::Own("no port is free for the probe".to_owned()))
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.road.ear.forget(&self.key);
    }
}

#[cfg(test)]
mod tests;
