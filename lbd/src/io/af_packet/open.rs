//! Opening the engine: every socket option in the order the kernel wants it.

use super::filter;
use crate::sys::ethtool;
use crate::sys::packet_ring::RxRing;
use crate::sys::packet_send::{FrameSender, SEND_QUEUE};
use crate::sys::packet_socket::PacketSocket;
use std::io;
use std::net::IpAddr;

/// What to open.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    /// Interface name, for messages and for its offload settings.
    pub interface: &'a str,
    /// Its index: what the sockets are bound to.
    pub ifindex: u32,
    /// Its MTU; frames up to it fit the ring's slots. After a change, open anew.
    pub mtu: u32,
    /// Memory of the receive ring, in MiB.
    pub ring_mib: u32,
    /// Whether other workers share this interface.
    pub fanout: Fanout,
    /// Whose frames to receive.
    pub vips: &'a [IpAddr],
}

/// Sharing one interface's frames between workers, by a hash of the flow's addresses and ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fanout {
    /// One worker has them all.
    Alone,
    /// The first of several workers: the kernel chooses a group nobody else uses.
    Found,
    /// Another worker: joins the first one's group.
    Join(u16),
}

/// Why the engine cannot run on this interface, now or ever.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Missing privilege.
    #[error("a packet socket needs CAP_NET_RAW: run lbd by its unit, or as root")]
    Permission,
    /// Deleted, or not there yet: try again when a link of that name appears.
    #[error("there is no interface {0}")]
    NoInterface(String),
    /// Try again when it is up.
    #[error("interface {0} is down")]
    Down(String),
    /// Direct routing rewrites MAC addresses.
    #[error("interface {interface} is no Ethernet (ARPHRD type {hardware})")]
    NotEthernet {
        /// Interface name.
        interface: String,
        /// Its ARPHRD_ type.
        hardware: u16,
    },
    /// LRO merges frames beyond repair.
    #[error(
        "large receive offload of {interface} is on and cannot be switched off ({source}); try \
         `ethtool -K {interface} lro off`"
    )]
    Lro {
        /// Interface name.
        interface: String,
        /// What the driver says.
        source: io::Error,
    },
    /// Memory.
    #[error("no receive ring of {ring_mib} MiB ({source}); a smaller network.ring_mib may do")]
    Ring {
        /// Size asked for.
        ring_mib: u32,
        /// What the kernel says.
        source: io::Error,
    },
    /// Anything else.
    #[error("{step} on {interface}: {source}")]
    Os {
        /// Interface name.
        interface: String,
        /// What was tried.
        step: &'static str,
        /// What the kernel says.
        source: io::Error,
    },
}

/// Super-frames that wait for us, in bytes of kernel memory (the kernel doubles it): some 500 of
/// 64 KiB, three milliseconds at 100 Gbit/s. Beyond it they count as truncated.
const RECEIVE_QUEUE: i32 = 32 << 20;

/// Bytes of an Ethernet header, and of one VLAN tag left in the frame.
const LINK_HEADER: usize = 14 + 4;

/// What an open engine is made of.
pub(super) struct Parts {
    pub socket: PacketSocket,
    pub ring: RxRing,
    pub sender: FrameSender,
    pub group: Option<u16>,
}

pub(super) fn open(options: &Options<'_>) -> Result<Parts, OpenError> {
    let os = |step| move |source| fault(options, step, source);
    let socket = PacketSocket::new().map_err(os("opening a packet socket"))?;
    ethtool::switch_off_lro(&socket, options.interface).map_err(|source| {
        match source.raw_os_error() {
            Some(libc::ENODEV) => OpenError::NoInterface(options.interface.to_owned()),
            _ => OpenError::Lro {
                interface: options.interface.to_owned(),
                source,
            },
        }
    })?;
    socket
        .carry_virtio_header()
        .map_err(os("asking for virtio headers (PACKET_VNET_HDR)"))?;
    socket
        .copy_oversize()
        .map_err(os("asking for super-frames (PACKET_COPY_THRESH)"))?;
    match socket.ignore_outgoing() {
        // Before Linux 4.20: the filter drops them, a little later.
        Err(error) if error.raw_os_error() == Some(libc::ENOPROTOOPT) => {}
        other => other.map_err(os("leaving own frames out (PACKET_IGNORE_OUTGOING)"))?,
    }
    socket
        .receive_buffer(RECEIVE_QUEUE)
        .map_err(os("sizing the receive queue"))?;

    let frame = options.mtu as usize + LINK_HEADER;
    let bytes = options.ring_mib as usize * (1 << 20);
    let ring = RxRing::map(&socket, frame, bytes).map_err(|source| OpenError::Ring {
        ring_mib: options.ring_mib,
        source,
    })?;

    // Until a socket is in its fanout group it would get every frame, beside the worker whose
    // frame it is: so it takes none before all is ready.
    socket
        .attach_filter(&filter::nothing())
        .map_err(os("attaching a filter"))?;
    socket
        .bind(options.ifindex, libc::ETH_P_ALL)
        .map_err(os("binding"))?;
    check_link(options, &socket)?;
    let group = join(options, &socket)?;
    let program = filter::program(options.vips);
    socket
        .attach_filter(&program)
        .map_err(os("attaching the filter for the VIPs"))?;

    let sender = FrameSender::open(options.ifindex, SEND_QUEUE)
        .map_err(os("opening the sockets that send"))?;
    Ok(Parts {
        socket,
        ring,
        sender,
        group,
    })
}

fn check_link(options: &Options<'_>, socket: &PacketSocket) -> Result<(), OpenError> {
    let interface = options.interface.to_owned();
    let os = |step| move |source| fault(options, step, source);
    let bound = socket.bound().map_err(os("asking for the binding"))?;
    if bound.ifindex.is_none() {
        return Err(OpenError::NoInterface(interface));
    }
    if bound.hardware != libc::ARPHRD_ETHER {
        return Err(OpenError::NotEthernet {
            interface,
            hardware: bound.hardware,
        });
    }
    match socket.take_error().map_err(os("asking for errors"))? {
        Some(error) => Err(fault(options, "binding", error)),
        None => Ok(()),
    }
}

fn join(options: &Options<'_>, socket: &PacketSocket) -> Result<Option<u16>, OpenError> {
    let os = |source| fault(options, "joining the fanout group", source);
    // The group ignores PACKET_IGNORE_OUTGOING of its members and has a flag of its own.
    let (id, kind) = match options.fanout {
        Fanout::Alone => return Ok(None),
        Fanout::Found => (
            0,
            libc::PACKET_FANOUT_HASH | libc::PACKET_FANOUT_FLAG_UNIQUEID,
        ),
        Fanout::Join(group) => (group, libc::PACKET_FANOUT_HASH),
    };
    match socket.join_fanout(id, kind | libc::PACKET_FANOUT_FLAG_IGNORE_OUTGOING) {
        // Before Linux 6.2: the filter drops them, a little later.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => socket.join_fanout(id, kind),
        other => other,
    }
    .map_err(os)?;
    socket.fanout_group().map(Some).map_err(os)
}

fn fault(options: &Options<'_>, step: &'static str, source: io::Error) -> OpenError {
    let interface = options.interface.to_owned();
    match source.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => OpenError::Permission,
        Some(libc::ENODEV | libc::ENXIO) => OpenError::NoInterface(interface),
        Some(libc::ENETDOWN) => OpenError::Down(interface),
        _ => OpenError::Os {
            interface,
            step,
            source,
        },
    }
}
