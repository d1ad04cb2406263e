//! The kernel's neighbour table: read it, and ask it to ask.

use crate::sys::netlink::to_io;
use futures_util::TryStreamExt;
use lbcore::net::MacAddr;
use rtnetlink::Handle;
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourExtFlags, NeighbourFlags, NeighbourMessage,
    NeighbourState,
};
use rtnetlink::packet_route::route::RouteProtocol;
use std::io;
use std::net::IpAddr;

/// Who made an entry (NDA_PROTOCOL): a number that /etc/iproute2/rt_protos leaves free, an `L`.
const OURS: RouteProtocol = RouteProtocol::Other(76);

/// A neighbour entry as the kernel shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sighting {
    pub(super) ifindex: u32,
    pub(super) address: IpAddr,
    pub(super) state: NeighbourState,
    pub(super) mac: Option<MacAddr>,
    pub(super) managed: bool,
    /// Made by an lbd.
    pub(super) ours: bool,
}

impl Sighting {
    /// An operator's own entry, or one that needs no asking: not to be touched.
    pub(super) fn fixed(&self) -> bool {
        matches!(
            self.state,
            NeighbourState::Permanent | NeighbourState::Noarp
        )
    }

    /// Nobody answers, or nobody was asked.
    pub(super) fn silent(&self) -> bool {
        self.mac.is_none() || matches!(self.state, NeighbourState::Failed | NeighbourState::None)
    }
}

/// What a message says of one entry; `None` where it speaks of something else (bridge ports).
pub(super) fn sighting(message: &NeighbourMessage) -> Option<Sighting> {
    let mut address = None;
    let (mut mac, mut managed, mut ours) = (None, false, false);
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(v4)) => {
                address = Some(IpAddr::V4(*v4));
            }
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(v6)) => {
                address = Some(IpAddr::V6(*v6));
            }
            NeighbourAttribute::LinkLayerAddress(bytes) => {
                mac = <[u8; 6]>::try_from(bytes.as_slice())
                    .ok()
                    .map(MacAddr::from);
            }
            NeighbourAttribute::ExtFlags(flags) => {
                managed = flags.contains(NeighbourExtFlags::Managed);
            }
            NeighbourAttribute::Protocol(protocol) => ours = *protocol == OURS,
            _ => {}
        }
    }
    Some(Sighting {
        ifindex: message.header.ifindex,
        address: address?,
        state: message.header.state,
        mac,
        managed,
        ours,
    })
}

/// All entries of both families.
pub(super) async fn dump(handle: &Handle) -> io::Result<Vec<Sighting>> {
    let messages: Vec<NeighbourMessage> = handle
        .neighbours()
        .get()
        .execute()
        .try_collect()
        .await
        .map_err(to_io)?;
    Ok(messages.iter().filter_map(sighting).collect())
}

/// Has the kernel resolve the address if it is not, and keep it resolved. Never on a
/// [`Sighting::fixed`] entry: it would lose its state.
pub(super) async fn manage(handle: &Handle, ifindex: u32, address: IpAddr) -> io::Result<()> {
    let mut request = handle.neighbours().add(ifindex, address).replace();
    let message = request.message_mut();
    message.header.state = NeighbourState::None;
    message.header.flags = NeighbourFlags::Use;
    message
        .attributes
        .push(NeighbourAttribute::ExtFlags(NeighbourExtFlags::Managed));
    message.attributes.push(NeighbourAttribute::Protocol(OURS));
    request.execute().await.map_err(to_io)
}

/// Asks the MAC the entry has, by unicast, whether the address is still there.
pub(super) async fn confirm(handle: &Handle, ifindex: u32, address: IpAddr) -> io::Result<()> {
    set_state(handle, ifindex, address, NeighbourState::Probe).await?;
    manage(handle, ifindex, address).await
}

/// Asks everybody, by broadcast or multicast, who has the address now. The entry stays, and
/// packets of this host wait in it for the answer.
pub(super) async fn resolve(handle: &Handle, ifindex: u32, address: IpAddr) -> io::Result<()> {
    set_state(handle, ifindex, address, NeighbourState::Failed).await?;
    manage(handle, ifindex, address).await
}

/// Makes ordinary cache of those managed entries of an lbd that are `wanted`, and says whose they
/// were; with `dry_run` it only says. An entry whose interface goes meanwhile goes with it.
pub(super) async fn release(
    handle: &Handle,
    dry_run: bool,
    wanted: impl Fn(&Sighting) -> bool,
) -> io::Result<Vec<IpAddr>> {
    let mut released = Vec::new();
    for entry in dump(handle).await? {
        if !(entry.ours && entry.managed && wanted(&entry)) {
            continue;
        }
        let state = if entry.silent() {
            NeighbourState::Failed
        } else {
            NeighbourState::Stale
        };
        if !dry_run {
            match set_state(handle, entry.ifindex, entry.address, state).await {
                Err(error) if error.raw_os_error() != Some(libc::ENODEV) => return Err(error),
                _ => {}
            }
        }
        released.push(entry.address);
    }
    Ok(released)
}

/// Sets the state and, as any change that does not name it, ends the management: a message that
/// names it leaves the state alone (net/core/neighbour.c, `__neigh_update`).
async fn set_state(
    handle: &Handle,
    ifindex: u32,
    address: IpAddr,
    state: NeighbourState,
) -> io::Result<()> {
    handle
        .neighbours()
        .add(ifindex, address)
        .replace()
        .state(state)
        .execute()
        .await
        .map_err(to_io)
}
