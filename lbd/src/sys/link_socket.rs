//! A plain packet socket on one interface for what concerns addresses: ARP, neighbour discovery
//! and echo requests, nothing else.

use super::check;
use lbcore::net::MacAddr;
use socket2::{Domain, SockAddr, SockFilter, Socket, Type};
use std::io::{self, Read, Write};
use std::mem;
use std::ops::RangeInclusive;
use std::os::fd::AsRawFd;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// An `AF_PACKET` socket, `SOCK_RAW`, for async code: whole Ethernet frames in and out. It hears frames
/// before the nft ingress hook, as every `ETH_P_ALL` tap does, and never its own.
#[derive(Debug)]
pub struct LinkSocket {
    socket: AsyncFd<Socket>,
    ifindex: u32,
}

impl LinkSocket {
    /// Opens one on `ifindex`, inside a tokio runtime; needs CAP_NET_RAW. The filter is in place
    /// before the first frame.
    pub fn open(ifindex: u32) -> io::Result<Self> {
        Self::open_with(ifindex, &FILTER)
    }

    /// The same for what `filter` keeps.
    pub fn open_with(ifindex: u32, filter: &[SockFilter]) -> io::Result<Self> {
        // Protocol 0 hears nothing until the bind.
        let socket = Socket::new(Domain::PACKET, Type::RAW, None)?;
        socket.set_nonblocking(true)?;
        socket.attach_filter(filter)?;
        set_option(&socket, libc::PACKET_IGNORE_OUTGOING, &1i32)?;
        socket.bind(&address(ifindex)?)?;
        // SAFETY: a `Socket` owns its descriptor and closes it only when it is dropped, which the
        // `AsyncFd` that owns it does last; it never gives out another one.
        let socket = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) }
            .map_err(|error| error.into_parts().1)?;
        Ok(LinkSocket { socket, ifindex })
    }

    /// The interface it was opened on.
    pub fn ifindex(&self) -> u32 {
        self.ifindex
    }

    /// Waits until there may be a frame or an error.
    pub async fn readable(&self) {
        // Fails only while the runtime shuts down, and then nobody polls again.
        let _ = self.socket.readable().await;
    }

    /// Receives one frame and gives its length; a longer one is cut to `buffer`. `WouldBlock`: none
    /// is there. `ENETDOWN` once when the interface goes down, `ENXIO` when it is gone for good.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket
            .try_io(Interest::READABLE, |mut socket| socket.read(buffer))
    }

    /// Sends one frame as it is, or says why not; never waits.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        self.socket.get_ref().write(frame).map(|_| ())
    }

    /// Has the interface hear frames to `group` too. Counted: joined twice, left twice.
    pub fn join(&self, group: MacAddr) -> io::Result<()> {
        set_option(
            self.socket.get_ref(),
            libc::PACKET_ADD_MEMBERSHIP,
            &self.membership(group)?,
        )
    }

    /// Undoes one [`LinkSocket::join`].
    pub fn leave(&self, group: MacAddr) -> io::Result<()> {
        set_option(
            self.socket.get_ref(),
            libc::PACKET_DROP_MEMBERSHIP,
            &self.membership(group)?,
        )
    }

    fn membership(&self, group: MacAddr) -> io::Result<libc::packet_mreq> {
        let mut address = [0; 8];
        address[..6].copy_from_slice(&group.octets());
        Ok(libc::packet_mreq {
            mr_ifindex: ifindex_as_int(self.ifindex)?,
            mr_type: libc::PACKET_MR_MULTICAST as libc::c_ushort,
            mr_alen: 6,
            mr_address: address,
        })
    }
}

fn ifindex_as_int(ifindex: u32) -> io::Result<libc::c_int> {
    libc::c_int::try_from(ifindex).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))
}

fn set_option<T>(socket: &Socket, name: libc::c_int, value: &T) -> io::Result<()> {
    let size = libc::socklen_t::try_from(mem::size_of::<T>())
        .map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    // SAFETY: `value` is valid for reads of `size` bytes during the call, and the packet options
    // used here take plain integers.
    check(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            name,
            std::ptr::from_ref(value).cast(),
            size,
        )
    })
    .map(|_| ())
}

/// Every protocol on one interface.
fn address(ifindex: u32) -> io::Result<SockAddr> {
    let ifindex = ifindex_as_int(ifindex)?;
    // SAFETY: the storage is zeroed and large and aligned enough for every address; sockaddr_ll is
    // made of integers, and its length is what we set.
    let ((), address) = unsafe {
        SockAddr::try_init(|storage, length| {
            let ll = &mut *storage.cast::<libc::sockaddr_ll>();
            ll.sll_family = libc::AF_PACKET as libc::sa_family_t;
            ll.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
            ll.sll_ifindex = ifindex;
            *length = mem::size_of::<libc::sockaddr_ll>() as libc::socklen_t;
            Ok(())
        })
    }?;
    Ok(address)
}

/// Classic BPF: untagged (or priority-tagged) ARP; ICMP echo requests that are no fragments;
/// neighbour solicitations and advertisements and echo requests of ICMPv6. A frame of a VLAN is
/// for the VLAN's own interface: its tag has been taken off into the packet's metadata.
static FILTER: [SockFilter; 24] = [
    load(ABS | WORD, AD_VLAN_TAG_PRESENT), // 0
    jump(JEQ, 0, 3, 0),                    // 1 no tag: 5
    load(ABS | WORD, AD_VLAN_TAG),         // 2
    and(0x0fff),                           // 3
    jump(JEQ, 0, 0, 18),                   // 4 a VLAN: 23
    load(ABS | HALF, 12),                  // 5 EtherType
    jump(JEQ, 0x0806, 15, 0),              // 6 ARP: 22
    jump(JEQ, 0x0800, 1, 0),               // 7 IPv4: 9
    jump(JEQ, 0x86dd, 7, 14),              // 8 IPv6: 16, else 23
    load(ABS | BYTE, 23),                  // 9 IPv4 protocol
    jump(JEQ, 1, 0, 12),                   // 10 not ICMP: 23
    load(ABS | HALF, 20),                  // 11 fragment field
    jump(JSET, 0x3fff, 10, 0),             // 12 a fragment: 23
    HEADER_LENGTH,                         // 13
    load(IND | BYTE, 14),                  // 14 ICMP type
    jump(JEQ, 8, 6, 7),                    // 15 echo request: 22, else 23
    load(ABS | BYTE, 20),                  // 16 IPv6 next header
    jump(JEQ, 58, 0, 5),                   // 17 not ICMPv6: 23
    load(ABS | BYTE, 54),                  // 18 ICMPv6 type
    jump(JEQ, 135, 2, 0),                  // 19
    jump(JEQ, 136, 1, 0),                  // 20
    jump(JEQ, 128, 0, 1),                  // 21 else 23
    SockFilter::new((libc::BPF_RET | libc::BPF_K) as u16, 0, 0, u32::MAX), // 22 take it whole
    SockFilter::new((libc::BPF_RET | libc::BPF_K) as u16, 0, 0, 0), // 23 leave it
];

/// Ports that probes in frames of our own come from. The kernel chooses none of them for its sockets
/// (`net.ipv4.ip_local_port_range` ends at 60999 unless somebody has changed it).
pub const PROBE_PORTS: RangeInclusive<u16> = 0xf000..=0xffff;

/// What answers such probes: TCP and UDP, later fragments left out, to this host's MAC and one of
/// [`PROBE_PORTS`], and ICMP errors that say nobody is there. The frame's length is no matter.
pub static ANSWERS: [SockFilter; 27] = [
    load(ABS | WORD, AD_PKTTYPE), // 0
    jump(JEQ, 0, 0, 24),          // 1 not PACKET_HOST: 26
    load(ABS | HALF, 12),         // 2 EtherType
    jump(JEQ, 0x0800, 1, 0),      // 3 IPv4: 5
    jump(JEQ, 0x86dd, 11, 21),    // 4 IPv6: 16, else 26
    load(ABS | HALF, 20),         // 5 fragment field
    jump(JSET, 0x1fff, 19, 0),    // 6 a later fragment: 26
    HEADER_LENGTH,                // 7
    load(ABS | BYTE, 23),         // 8 IPv4 protocol
    jump(JEQ, 6, 13, 0),          // 9 TCP: 23
    jump(JEQ, 17, 12, 0),         // 10 UDP: 23
    jump(JEQ, 1, 0, 14),          // 11 not ICMP: 26
    load(IND | BYTE, 14),         // 12 ICMP type
    jump(JEQ, 3, 0, 12),          // 13 not destination unreachable: 26
    load(IND | BYTE, 15),         // 14 its code
    jump(JEQ, 4, 10, 9),          // 15 fragmentation needed: 26, else 25
    SockFilter::new(
        (libc::BPF_LDX | libc::BPF_W | libc::BPF_IMM) as u16,
        0,
        0,
        40,
    ), // 16
    load(ABS | BYTE, 20),         // 17 IPv6 next header
    jump(JEQ, 6, 4, 0),           // 18 TCP: 23
    jump(JEQ, 17, 3, 0),          // 19 UDP: 23
    jump(JEQ, 58, 0, 5),          // 20 not ICMPv6: 26
    load(ABS | BYTE, 54),         // 21 ICMPv6 type
    jump(JEQ, 1, 2, 3),           // 22 destination unreachable: 25, else 26
    load(IND | HALF, 16),         // 23 destination port
    jump(JGE, *PROBE_PORTS.start() as u32, 0, 1), // 24 one of them: 25, else 26
    SockFilter::new((libc::BPF_RET | libc::BPF_K) as u16, 0, 0, u32::MAX), // 25 take it whole
    SockFilter::new((libc::BPF_RET | libc::BPF_K) as u16, 0, 0, 0), // 26 leave it
];

/// X = the length of the IPv4 header.
const HEADER_LENGTH: SockFilter = SockFilter::new(
    (libc::BPF_LDX | libc::BPF_B | libc::BPF_MSH) as u16,
    0,
    0,
    14,
);

const ABS: u32 = libc::BPF_ABS;
const IND: u32 = libc::BPF_IND;
const BYTE: u32 = libc::BPF_B;
const HALF: u32 = libc::BPF_H;
/// The kernel's ancillary loads are words whatever their meaning.
const WORD: u32 = libc::BPF_W;
const JEQ: u32 = libc::BPF_JEQ;
const JSET: u32 = libc::BPF_JSET;
const JGE: u32 = libc::BPF_JGE;

/// SKF_AD_OFF + SKF_AD_VLAN_TAG, SKF_AD_PKTTYPE and SKF_AD_VLAN_TAG_PRESENT (linux/filter.h).
const AD_VLAN_TAG: u32 = (-0x1000i32 + 44) as u32;
const AD_PKTTYPE: u32 = (-0x1000i32 + 4) as u32;
const AD_VLAN_TAG_PRESENT: u32 = (-0x1000i32 + 48) as u32;

const fn load(how: u32, at: u32) -> SockFilter {
    SockFilter::new((libc::BPF_LD | how) as u16, 0, 0, at)
}

const fn and(mask: u32) -> SockFilter {
    SockFilter::new(
        (libc::BPF_ALU | libc::BPF_AND | libc::BPF_K) as u16,
        0,
        0,
        mask,
    )
}

/// Skips `yes` or `no` instructions.
const fn jump(test: u32, value: u32, yes: u8, no: u8) -> SockFilter {
    SockFilter::new((libc::BPF_JMP | test | libc::BPF_K) as u16, yes, no, value)
}
