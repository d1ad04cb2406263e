//! The echoes that the engine is measured against: a receive ring, sendmmsg, and nothing else. No
//! filter, no interface per frame, no VLAN, no super-frames that do not fit, no counters by reason.

use super::rate::Progress;
use std::mem;
use std::sync::atomic::{AtomicU32, Ordering};

const BATCH: usize = 64;
const BLOCK: usize = 1 << 20;
/// Bytes of a virtio header.
const HEADER: usize = 10;

/// Which ring, and how frames are sent.
#[derive(Clone, Copy)]
pub enum Kind {
    /// TPACKET_V3 with 1 MiB blocks that retire after 1 ms.
    V3 {
        /// With virtio headers.
        header: bool,
        /// Sent past the queueing discipline.
        bypass: bool,
    },
    /// TPACKET_V2 with virtio headers.
    V2 {
        /// Bytes of a slot.
        slot: usize,
    },
}

/// A bare echo.
pub struct Bare {
    kind: Kind,
    receive: i32,
    send: i32,
    macs: [u8; 12],
    ring: *mut u8,
    size: usize,
    parts: Vec<libc::iovec>,
    messages: Vec<libc::mmsghdr>,
}

fn set<T>(fd: i32, name: i32, value: &T) {
    let len = mem::size_of::<T>() as u32;
    // SAFETY: `value` is valid for reads of its size.
    let result = unsafe {
        libc::setsockopt(
            fd,
            libc::SOL_PACKET,
            name,
            std::ptr::from_ref(value).cast(),
            len,
        )
    };
    assert_eq!(
        result,
        0,
        "option {name}: {}",
        std::io::Error::last_os_error()
    );
}

fn bind(fd: i32, ifindex: u32, protocol: i32) {
    // SAFETY: sockaddr_ll is made of integers.
    let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = (protocol as u16).to_be();
    address.sll_ifindex = ifindex as i32;
    let len = mem::size_of_val(&address) as u32;
    // SAFETY: `address` is valid for reads of `len` bytes.
    let result = unsafe { libc::bind(fd, (&raw const address).cast(), len) };
    assert_eq!(result, 0, "bind: {}", std::io::Error::last_os_error());
}

fn socket() -> i32 {
    // SAFETY: no memory is involved.
    let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
    assert!(fd >= 0, "socket: {}", std::io::Error::last_os_error());
    fd
}

impl Bare {
    /// Opens it in the calling thread's namespace; `macs` go into every frame.
    pub fn open(kind: Kind, ifindex: u32, ring_mib: usize, macs: [u8; 12]) -> Self {
        let (receive, send) = (socket(), socket());
        let (header, bypass) = match kind {
            Kind::V3 { header, bypass } => (header, bypass),
            Kind::V2 { .. } => (true, false),
        };
        set(receive, libc::PACKET_IGNORE_OUTGOING, &1_i32);
        for fd in [receive, send] {
            if header {
                set(fd, libc::PACKET_VNET_HDR, &1_i32);
            }
        }
        if bypass {
            set(send, libc::PACKET_QDISC_BYPASS, &1_i32);
        }
        let size = ring_mib << 20;
        let blocks = (size / BLOCK) as u32;
        match kind {
            Kind::V3 { .. } => {
                set(receive, libc::PACKET_VERSION, &2_i32);
                let request = libc::tpacket_req3 {
                    tp_block_size: BLOCK as u32,
                    tp_block_nr: blocks,
                    tp_frame_size: 2048,
                    tp_frame_nr: blocks * (BLOCK / 2048) as u32,
                    tp_retire_blk_tov: 1,
                    tp_sizeof_priv: 0,
                    tp_feature_req_word: 0,
                };
                set(receive, libc::PACKET_RX_RING, &request);
            }
            Kind::V2 { slot } => {
                set(receive, libc::PACKET_VERSION, &1_i32);
                let request = libc::tpacket_req {
                    tp_block_size: BLOCK as u32,
                    tp_block_nr: blocks,
                    tp_frame_size: slot as u32,
                    tp_frame_nr: blocks * (BLOCK / slot) as u32,
                };
                set(receive, libc::PACKET_RX_RING, &request);
            }
        }
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_SHARED | libc::MAP_POPULATE;
        // SAFETY: a new mapping at a place of the kernel's choice.
        let ring = unsafe { libc::mmap(std::ptr::null_mut(), size, access, flags, receive, 0) };
        assert_ne!(
            ring,
            libc::MAP_FAILED,
            "mmap: {}",
            std::io::Error::last_os_error()
        );
        bind(send, ifindex, 0);
        bind(receive, ifindex, libc::ETH_P_ALL);
        let (parts, messages) = (Vec::with_capacity(BATCH), Vec::with_capacity(BATCH));
        Bare {
            kind,
            receive,
            send,
            macs,
            ring: ring.cast(),
            size,
            parts,
            messages,
        }
    }

    /// Echoes until told to stop.
    pub fn run(&mut self, progress: &Progress) {
        match self.kind {
            Kind::V3 { header, .. } => self.run_v3(if header { HEADER } else { 0 }, progress),
            Kind::V2 { slot } => self.run_v2(slot, progress),
        }
    }

    fn run_v3(&mut self, header: usize, progress: &Progress) {
        let mut block = 0;
        while progress.goes_on() {
            // SAFETY: the block is inside the mapping; a set status makes it ours until cleared.
            unsafe {
                let start = self.ring.add(block * BLOCK);
                let description = start.cast::<libc::tpacket_block_desc>();
                let status = &raw const (*description).hdr.bh1.block_status;
                let status = &*status.cast::<AtomicU32>();
                if status.load(Ordering::Acquire) & libc::TP_STATUS_USER == 0 {
                    self.wait();
                    continue;
                }
                let count = (*description).hdr.bh1.num_pkts;
                let mut at = (*description).hdr.bh1.offset_to_first_pkt as usize;
                for nth in 1..=count {
                    let packet = start.add(at).cast::<libc::tpacket3_hdr>();
                    let frame = start.add(at + usize::from((*packet).tp_mac));
                    self.push(frame, header, (*packet).tp_snaplen as usize);
                    if self.parts.len() == BATCH || nth == count {
                        self.flush(progress);
                    }
                    at += (*packet).tp_next_offset as usize;
                }
                status.store(libc::TP_STATUS_KERNEL, Ordering::Release);
            }
            block = (block + 1) % (self.size / BLOCK);
        }
    }

    fn run_v2(&mut self, slot: usize, progress: &Progress) {
        let slots = self.size / slot;
        let (mut first, mut held) = (0, 0);
        while progress.goes_on() {
            // SAFETY: the slot is inside the mapping; a set status makes it ours until cleared.
            let ready = unsafe {
                let start = self.ring.add((first + held) % slots * slot);
                let status = &*start.cast::<AtomicU32>();
                let ready =
                    held < BATCH && status.load(Ordering::Acquire) & libc::TP_STATUS_USER != 0;
                if ready {
                    let packet = start.cast::<libc::tpacket2_hdr>();
                    let frame = start.add(usize::from((*packet).tp_mac));
                    self.push(frame, HEADER, (*packet).tp_snaplen as usize);
                    held += 1;
                }
                ready
            };
            if ready {
                continue;
            }
            if held == 0 {
                self.wait();
                continue;
            }
            self.flush(progress);
            for nth in 0..held {
                // SAFETY: as above.
                let status = unsafe {
                    &*self
                        .ring
                        .add((first + nth) % slots * slot)
                        .cast::<AtomicU32>()
                };
                status.store(libc::TP_STATUS_KERNEL, Ordering::Release);
            }
            first = (first + held) % slots;
            held = 0;
        }
    }

    /// # Safety
    /// `frame` is valid for reads and writes of `len` bytes, with `header` bytes before it, until
    /// the next `flush`.
    unsafe fn push(&mut self, frame: *mut u8, header: usize, len: usize) {
        // SAFETY: the caller says so, and no frame is shorter than two MACs.
        unsafe {
            frame.copy_from_nonoverlapping(self.macs.as_ptr(), 12);
            let base = frame.sub(header).cast();
            self.parts.push(libc::iovec {
                iov_base: base,
                iov_len: len + header,
            });
        }
    }

    fn flush(&mut self, progress: &Progress) {
        self.messages.clear();
        for part in &mut self.parts {
            // SAFETY: msghdr is made of integers and pointers.
            let mut message: libc::mmsghdr = unsafe { mem::zeroed() };
            message.msg_hdr.msg_iov = part;
            message.msg_hdr.msg_iovlen = 1;
            self.messages.push(message);
        }
        let mut done = 0;
        while done < self.messages.len() {
            let rest = &mut self.messages[done..];
            // SAFETY: the messages point into `parts` and the ring, which stay until the end.
            let n = unsafe {
                libc::sendmmsg(
                    self.send,
                    rest.as_mut_ptr(),
                    rest.len() as u32,
                    libc::MSG_DONTWAIT,
                )
            };
            assert!(n > 0, "sendmmsg: {}", std::io::Error::last_os_error());
            done += n as usize;
        }
        let sent = progress.sent.load(Ordering::Relaxed) + done as u64;
        progress.sent.store(sent, Ordering::Relaxed);
        self.parts.clear();
    }

    fn wait(&self) {
        let mut poll = libc::pollfd {
            fd: self.receive,
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: `poll` is one pollfd, valid for writes.
        unsafe { libc::poll(&mut poll, 1, 10) };
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        // SAFETY: the mapping and the descriptors are ours, and nothing uses them any more.
        unsafe {
            libc::munmap(self.ring.cast(), self.size);
            libc::close(self.receive);
            libc::close(self.send);
        }
    }
}
