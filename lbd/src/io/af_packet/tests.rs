//! The engine on a real link: a veth pair between two namespaces, the tests at its other end.

use super::*;
use crate::io::testlink::{self, ifindex};
use crate::sys::netns::Netns;
use std::process::Command;
use std::time::Instant;

const VIP: [u8; 4] = [192, 0, 2, 10];
const DESTINATION: [u8; 6] = [2, 0, 0, 0, 0, 9];
const DEADLINE: Duration = Duration::from_secs(10);
const MOMENT: Duration = Duration::from_millis(20);

/// TPID and TCI of a tag beside the frame.
type Tag = Option<(u16, u16)>;

/// Forwards every frame to another MAC out of one interface, and remembers everything.
#[derive(Default)]
struct Forwarder {
    ifindex: u32,
    seen: Vec<(Vec<u8>, FrameMeta)>,
    sent: u64,
    lost: Vec<DropReason>,
}

impl FrameHandler for Forwarder {
    type Recognised = ();
    fn recognise(&self, _frame: &[u8], _meta: &FrameMeta) {}
    fn begin(&mut self) {}
    fn frame(&mut self, frame: &mut [u8], meta: &FrameMeta, _recognised: &()) -> Disposition {
        self.seen.push((frame.to_vec(), *meta));
        frame[..6].copy_from_slice(&DESTINATION);
        Disposition::Forward {
            ifindex: self.ifindex,
        }
    }
    fn sent(&mut self, ifindex: u32, frames: u64) {
        assert_eq!(ifindex, self.ifindex);
        self.sent += frames;
    }
    fn lost(&mut self, _ifindex: u32, reason: DropReason) {
        self.lost.push(reason);
    }
    fn idle(&mut self) {}
}

/// A link with the engine's namespace at one end, and ours at the other.
struct Rig {
    lb: Netns,
    wire: Netns,
    socket: PacketSocket,
    ring: RxRing,
    sender: FrameSender,
    wire_index: u32,
    mac: [u8; 6],
}

impl Rig {
    fn new() -> Option<Self> {
        let (lb, wire) = (Netns::new()?, Netns::new()?);
        testlink::join(&lb, &wire);
        let wire_index = ifindex(&wire, "wire");
        let (socket, ring, sender) = wire.run(move || Self::attach(wire_index));
        let mac = [2, 0, 0, 0, 0, 1];
        Some(Rig {
            lb,
            wire,
            socket,
            ring,
            sender,
            wire_index,
            mac,
        })
    }

    fn attach(index: u32) -> (PacketSocket, RxRing, FrameSender) {
        let socket = PacketSocket::new().expect("socket");
        socket.carry_virtio_header().expect("virtio header");
        socket.ignore_outgoing().expect("ignore outgoing");
        let ring = RxRing::map(&socket, 65_536, 64 << 20).expect("ring");
        socket.bind(index, libc::ETH_P_ALL).expect("bind");
        (socket, ring, testlink::sender(index))
    }

    fn engine(&self, fanout: Fanout) -> AfPacket {
        self.try_engine(fanout).expect("open")
    }

    fn try_engine(&self, fanout: Fanout) -> Result<AfPacket, OpenError> {
        let ifindex = ifindex(&self.lb, "lb");
        self.lb.run(move || {
            let vips = &[IpAddr::from(VIP)];
            let (interface, mtu, ring_mib) = ("lb", 1500, 1);
            AfPacket::open(&Options {
                interface,
                ifindex,
                mtu,
                ring_mib,
                fanout,
                vips,
            })
        })
    }

    fn forwarder(&self) -> Forwarder {
        Forwarder {
            ifindex: ifindex(&self.lb, "lb"),
            ..Forwarder::default()
        }
    }

    /// Sends frames, each with its virtio header; whether all were taken.
    fn send(&mut self, frames: &[Vec<u8>]) {
        let ifindex = self.wire_index;
        let frames = frames.iter().map(|frame| Outgoing {
            ifindex,
            headed: true,
            bytes: frame,
        });
        self.sender
            .send(frames, |nth, error| panic!("frame {nth}: {error}"));
    }

    /// The next frame that comes back, with its virtio header before it.
    fn next(&mut self) -> Option<(Vec<u8>, Tag)> {
        let end = Instant::now() + DEADLINE;
        while Instant::now() < end {
            self.ring.release();
            let Some(received) = self.ring.take() else {
                self.socket.wait(MOMENT).expect("wait");
                continue;
            };
            assert_eq!(
                received.len, received.captured,
                "slots of 64 KiB cut nothing"
            );
            let data = self.ring.data(0).expect("held");
            let from = received.start - virtio::LEN;
            if data[received.start..][..6] == DESTINATION {
                return Some((
                    data[from..received.start + received.len].to_vec(),
                    received.vlan,
                ));
            }
        }
        None
    }
}

/// Turns the engine until `done`, or fails.
fn turn_until(
    engine: &mut AfPacket,
    handler: &mut Forwarder,
    mut done: impl FnMut(&Forwarder) -> bool,
) {
    let end = Instant::now() + DEADLINE;
    while !done(handler) {
        assert!(
            Instant::now() < end,
            "in time: {} seen, {} sent, lost {:?}",
            handler.seen.len(),
            handler.sent,
            handler.lost
        );
        engine.turn(MOMENT, handler).expect("turn");
    }
}

/// A UDP frame to `vip`, with a virtio header that says it is finished.
fn udp(mac: [u8; 6], vip: [u8; 4], port: u16, payload: usize) -> Vec<u8> {
    let mut frame = vec![0; virtio::LEN];
    frame.extend(mac);
    frame.extend([2, 0, 0, 0, 0, 7, 8, 0, 0x45, 0]);
    frame.extend((28 + payload as u16).to_be_bytes());
    frame.extend([0, 1, 0x40, 0, 64, 17, 0, 0, 192, 0, 2, 1]);
    frame.extend(vip);
    frame.extend(port.to_be_bytes());
    frame.extend(53_u16.to_be_bytes());
    frame.extend((8 + payload as u16).to_be_bytes());
    frame.extend([0, 0]);
    frame.extend((0..payload).map(|n| n as u8));
    frame
}

fn tagged(frame: &[u8], tpid: u16, tci: u16) -> Vec<u8> {
    let mut tagged = frame[..virtio::LEN + 12].to_vec();
    tagged.extend(tpid.to_be_bytes());
    tagged.extend(tci.to_be_bytes());
    tagged.extend(&frame[virtio::LEN + 12..]);
    tagged
}

/// A TCP super-frame over IPv4: checksum unfinished, to be cut every 1448 bytes.
fn super_frame(mac: [u8; 6], payload: usize) -> Vec<u8> {
    let mut frame = vec![1, 1];
    for field in [54_u16, 1448, 34, 16] {
        frame.extend(field.to_ne_bytes());
    }
    frame.extend(mac);
    frame.extend([2, 0, 0, 0, 0, 7, 8, 0, 0x45, 0]);
    frame.extend((40 + payload as u16).to_be_bytes());
    frame.extend([0, 1, 0x40, 0, 64, 6, 0, 0, 192, 0, 2, 1]);
    frame.extend(VIP);
    frame.extend([
        0x9c, 0x40, 0, 80, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 0xff, 0xff,
    ]);
    // The sum of the pseudo-header, which the kernel completes.
    let length = 20 + payload as u32;
    let words = [0xc000, 0x0201, 0xc000, 0x020a, 6, length];
    let sum = words.iter().sum::<u32>();
    let sum = (sum & 0xffff) + (sum >> 16);
    frame.extend((sum as u16).to_be_bytes());
    frame.extend([0, 0]);
    frame.extend((0..payload).map(|n| (n / 7) as u8));
    frame
}

/// What the forwarder makes of a frame.
fn forwarded(frame: &[u8]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    frame[virtio::LEN..][..6].copy_from_slice(&DESTINATION);
    frame
}

#[test]
fn frames_go_out_as_they_came_but_for_the_handlers_edits() {
    let Some(mut rig) = Rig::new() else {
        return;
    };
    let (mut engine, mut handler) = (rig.engine(Fanout::Alone), rig.forwarder());
    for payload in [18, 100, 1000, 1472] {
        let frame = udp(rig.mac, VIP, 1024, payload);
        rig.send(std::slice::from_ref(&frame));
        let before = handler.sent;
        turn_until(&mut engine, &mut handler, |handler| handler.sent > before);
        let (back, tag) = rig.next().expect("the frame comes back");
        assert_eq!((back, tag), (forwarded(&frame), None));
        let (seen, meta) = handler.seen.pop().expect("seen");
        assert_eq!(seen, frame[virtio::LEN..]);
        assert_eq!(
            meta,
            FrameMeta {
                ifindex: handler.ifindex,
                vlan: None,
                gso_size: 0
            }
        );
    }
    assert!(handler.lost.is_empty());
}

#[test]
fn t11_vlan_tags_come_back() {
    let Some(mut rig) = Rig::new() else {
        return;
    };
    let (mut engine, mut handler) = (rig.engine(Fanout::Alone), rig.forwarder());
    let plain = udp(rig.mac, VIP, 1024, 1472);
    // The kernel lets 802.1Q tags exceed the MTU, 802.1ad tags not.
    let shorter = udp(rig.mac, VIP, 1024, 1468);
    for (frame, tpid, tci) in [
        (&plain, 0x8100, 10),
        (&plain, 0x8100, 0x6000),
        (&shorter, 0x88a8, 0x2fff),
    ] {
        rig.send(&[tagged(frame, tpid, tci)]);
        let before = handler.sent;
        turn_until(&mut engine, &mut handler, |handler| handler.sent > before);
        let (seen, meta) = handler.seen.pop().expect("seen");
        assert_eq!(seen, frame[virtio::LEN..]);
        assert_eq!(meta.vlan, Some(VlanTag { tpid, tci }));
        // The kernel at the other end takes the tag out again.
        assert_eq!(
            rig.next().expect("back"),
            (forwarded(frame), Some((tpid, tci)))
        );
    }
    // Of two tags the inner one stays in the bytes.
    let double = tagged(&tagged(&plain[..1000], 0x8100, 20), 0x88a8, 10);
    rig.send(&[double]);
    turn_until(&mut engine, &mut handler, |handler| {
        !handler.seen.is_empty()
    });
    let (seen, meta) = handler.seen.pop().expect("seen");
    assert_eq!(seen[12..16], [0x81, 0, 0, 20]);
    assert_eq!(
        meta.vlan,
        Some(VlanTag {
            tpid: 0x88a8,
            tci: 10
        })
    );
    let (back, tag) = rig.next().expect("back");
    assert_eq!(back, forwarded(&tagged(&plain[..1000], 0x8100, 20)));
    assert_eq!(tag, Some((0x88a8, 10)));
}

#[test]
fn t07_a_super_frame_stays_whole_tagged_or_not() {
    let Some(mut rig) = Rig::new() else {
        return;
    };
    let (mut engine, mut handler) = (rig.engine(Fanout::Alone), rig.forwarder());
    // 65,535 bytes with the tag: the most that the kernel leaves whole (below gso_max_size).
    for payload in [1500, 20_000, 65_000, 65_477] {
        for tag in [None, Some((0x8100, 10))] {
            let frame = super_frame(rig.mac, payload);
            let on_wire = tag.map_or(frame.clone(), |(tpid, tci)| {
                let mut frame = frame.clone();
                frame[2..4].copy_from_slice(&58_u16.to_ne_bytes());
                frame[6..8].copy_from_slice(&38_u16.to_ne_bytes());
                tagged(&frame, tpid, tci)
            });
            rig.send(&[on_wire]);
            let before = handler.sent;
            turn_until(&mut engine, &mut handler, |handler| handler.sent > before);
            let (seen, meta) = handler.seen.pop().expect("seen");
            assert!(seen == frame[virtio::LEN..], "whole, {} bytes", seen.len());
            assert_eq!(meta.gso_size, 1448);
            let (back, back_tag) = rig.next().expect("back");
            // hdr_len is a hint; everything else must be what it was.
            assert_eq!(
                (back[..2].to_vec(), back[4..10].to_vec()),
                (vec![1, 1], frame[4..10].to_vec())
            );
            assert!(
                back[virtio::LEN..] == forwarded(&frame)[virtio::LEN..],
                "{payload}"
            );
            assert_eq!(back_tag, tag);
        }
    }
    assert!(handler.lost.is_empty());
}

#[test]
fn t08_without_offloads_the_kernel_cuts_and_completes_it() {
    let Some(mut rig) = Rig::new() else {
        return;
    };
    let off = "-K lb tso off gso off tx off";
    let done = rig
        .lb
        .run(move || Command::new("ethtool").args(off.split(' ')).output());
    assert!(done.expect("ethtool is installed").status.success());
    let (mut engine, mut handler) = (rig.engine(Fanout::Alone), rig.forwarder());
    let frame = super_frame(rig.mac, 14_480);
    rig.send(std::slice::from_ref(&frame));
    turn_until(&mut engine, &mut handler, |handler| handler.sent == 1);
    let mut payload: Vec<u8> = Vec::new();
    for nth in 0..10 {
        let (back, _) = rig.next().expect("back");
        assert_eq!(back[0] & 1, 0, "finished");
        let segment = &back[virtio::LEN + 34..];
        assert_eq!(segment.len(), 1468, "segment {nth}");
        let pseudo = [0xc000_u32, 0x0201, 0xc000, 0x020a, 6, 1468]
            .iter()
            .sum::<u32>();
        let words = segment
            .chunks(2)
            .map(|word| u32::from(word[0]) << 8 | u32::from(word[1]));
        let sum = words.sum::<u32>() + pseudo;
        assert_eq!(
            ((sum & 0xffff) + (sum >> 16)) % 0xffff,
            0,
            "checksum of segment {nth}"
        );
        payload.extend(&segment[20..]);
    }
    assert!(payload == frame[virtio::LEN + 54..]);
}

#[test]
fn a_super_frame_without_room_for_its_copy_is_lost_and_never_sent() {
    let Some(mut rig) = Rig::new() else {
        return;
    };
    let (mut engine, mut handler) = (rig.engine(Fanout::Alone), rig.forwarder());
    engine.socket.receive_buffer(1).expect("receive buffer");
    let large = super_frame(rig.mac, 60_000);
    // One is always let in; the others find the queue full.
    rig.send(&[
        large.clone(),
        large.clone(),
        large,
        udp(rig.mac, VIP, 1, 18),
    ]);
    turn_until(&mut engine, &mut handler, |handler| handler.sent == 2);
    assert_eq!(handler.lost, vec![DropReason::Truncated; 2]);
    assert_eq!(handler.seen.len(), 2);
}

#[test]
fn finished_and_unfinished_frames_go_out_in_the_order_they_came() {
    let Some(mut rig) = Rig::new() else {
        return;
    };
    let (mut engine, mut handler) = (rig.engine(Fanout::Alone), rig.forwarder());
    let frames: Vec<_> = (0..12_u16)
        .map(|n| match n % 4 {
            0 | 1 => udp(rig.mac, VIP, n, 18),
            _ => super_frame(rig.mac, 2000 + usize::from(n)),
        })
        .collect();
    rig.send(&frames);
    turn_until(&mut engine, &mut handler, |handler| {
        handler.sent == frames.len() as u64
    });
    for frame in &frames {
        let (back, _) = rig.next().expect("back");
        assert_eq!(back[..2], frame[..2], "what the kernel has to finish");
        assert!(back[virtio::LEN..] == forwarded(frame)[virtio::LEN..]);
    }
    assert!(handler.lost.is_empty());
}

#[test]
fn a_frame_larger_than_the_way_out_is_too_big_and_the_rest_goes_on() {
    let Some(mut rig) = Rig::new() else {
        return;
    };
    rig.lb
        .ip("link add small mtu 1400 type veth peer name other");
    rig.lb.ip("link set small up");
    rig.lb.ip("link set other up");
    let mut engine = rig.engine(Fanout::Alone);
    let mut handler = Forwarder {
        ifindex: ifindex(&rig.lb, "small"),
        ..Forwarder::default()
    };
    let small = udp(rig.mac, VIP, 1, 18);
    rig.send(&[
        small.clone(),
        udp(rig.mac, VIP, 1, 1472),
        small.clone(),
        small,
    ]);
    turn_until(&mut engine, &mut handler, |handler| handler.sent == 3);
    assert_eq!(handler.lost, vec![DropReason::TooBig]);
}

#[test]
fn a_frame_for_no_interface_is_a_failed_send() {
    let Some(mut rig) = Rig::new() else {
        return;
    };
    let mut engine = rig.engine(Fanout::Alone);
    let mut handler = Forwarder {
        ifindex: 4_000_000,
        ..Forwarder::default()
    };
    rig.send(&[udp(rig.mac, VIP, 1, 18)]);
    turn_until(&mut engine, &mut handler, |handler| {
        !handler.lost.is_empty()
    });
    assert_eq!(
        (handler.lost, handler.sent),
        (vec![DropReason::SendFailed], 0)
    );
}

#[test]
fn t48_frames_for_other_macs_or_addresses_are_not_seen() {
    let Some(mut rig) = Rig::new() else {
        return;
    };
    rig.lb.ip("link set lb promisc on");
    let (mut engine, mut handler) = (rig.engine(Fanout::Alone), rig.forwarder());
    let other = [2, 0, 0, 0, 0, 0x55];
    let mac = rig.mac;
    let frames = [
        udp(other, VIP, 1, 18),
        udp([0xff; 6], VIP, 1, 18),
        udp([1, 0, 0x5e, 0, 2, 10], VIP, 1, 18),
        udp(mac, [192, 0, 2, 11], 1, 18),
        udp(mac, VIP, 9, 18),
    ];
    rig.send(&frames);
    turn_until(&mut engine, &mut handler, |handler| handler.sent > 0);
    assert_eq!(handler.seen.len(), 1);
    assert_eq!(handler.seen[0].0, frames[4][virtio::LEN..]);

    engine
        .set_filter(&["192.0.2.11".parse().expect("address")])
        .expect("set_filter");
    rig.send(&frames);
    turn_until(&mut engine, &mut handler, |handler| handler.sent > 1);
    assert_eq!(handler.seen[1].0, frames[3][virtio::LEN..]);
}

#[test]
fn t06_own_frames_are_never_read_back() {
    for fanout in [Fanout::Alone, Fanout::Found] {
        let Some(mut rig) = Rig::new() else {
            return;
        };
        let (mut engine, mut handler) = (rig.engine(fanout), rig.forwarder());
        // The filter would hide them; the socket options alone must do.
        let keep_all = libc::sock_filter {
            code: 6,
            jt: 0,
            jf: 0,
            k: u32::MAX,
        };
        engine.socket.attach_filter(&[keep_all]).expect("attach");
        let frames: Vec<_> = (0..100).map(|n| udp(rig.mac, VIP, n, 18)).collect();
        for _ in 0..10 {
            rig.send(&frames);
            let before = handler.sent;
            turn_until(&mut engine, &mut handler, |handler| {
                handler.sent == before + 100
            });
        }
        // A last frame, after which nothing of ours can be on its way any more.
        rig.send(&[udp(rig.mac, VIP, 9, 19)]);
        turn_until(&mut engine, &mut handler, |handler| handler.sent == 1001);
        assert_eq!(handler.seen.len(), 1001, "{fanout:?}");
    }
}

#[test]
fn a_flow_stays_on_one_worker_and_none_sees_anothers() {
    let Some(mut rig) = Rig::new() else {
        return;
    };
    let mut first = rig.engine(Fanout::Found);
    let group = first.fanout_group().expect("a group");
    let mut second = rig.engine(Fanout::Join(group));
    let (mut one, mut two) = (rig.forwarder(), rig.forwarder());
    let frames: Vec<_> = (0..400)
        .map(|n| udp(rig.mac, VIP, 1000 + n % 100, 18))
        .collect();
    rig.send(&frames);
    let end = Instant::now() + DEADLINE;
    while one.seen.len() + two.seen.len() < 400 && Instant::now() < end {
        first.turn(Duration::ZERO, &mut one).expect("turn");
        second.turn(Duration::ZERO, &mut two).expect("turn");
    }
    let ports = |handler: &Forwarder| {
        let mut ports: Vec<_> = handler.seen.iter().map(|(f, _)| [f[34], f[35]]).collect();
        ports.sort_unstable();
        ports.dedup();
        ports
    };
    let (one_ports, two_ports) = (ports(&one), ports(&two));
    assert_eq!(one.seen.len() + two.seen.len(), 400);
    assert_eq!(one_ports.len() + two_ports.len(), 100);
    assert!(one_ports.len() > 20 && two_ports.len() > 20);
}

#[test]
fn t54_every_frame_is_received_or_counted_as_a_ring_drop() {
    let Some(mut rig) = Rig::new() else {
        return;
    };
    let (mut engine, mut handler) = (rig.engine(Fanout::Alone), rig.forwarder());
    let room = engine.ring_slots();
    let frames: Vec<_> = (0..room as u16 * 3)
        .map(|n| udp(rig.mac, VIP, n, 18))
        .collect();
    rig.send(&frames);
    turn_until(&mut engine, &mut handler, |handler| {
        handler.sent == room as u64
    });
    rig.send(&[udp(rig.mac, VIP, 0xffff, 18)]);
    turn_until(&mut engine, &mut handler, |handler| {
        handler.sent == room as u64 + 1
    });
    assert_eq!(engine.ring_drops(), frames.len() as u64 - room as u64);
    assert_eq!(engine.ring_drops(), 0, "counted once");
    // In order, none twice.
    for (nth, frame) in frames[..room].iter().enumerate() {
        assert!(handler.seen[nth].0 == frame[virtio::LEN..], "frame {nth}");
    }
}

/// Turns until a fault comes.
fn fault(engine: &mut AfPacket, handler: &mut Forwarder) -> IoFault {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Err(fault) = engine.turn(MOMENT, handler) {
            return fault;
        }
        assert!(Instant::now() < end, "no fault in time");
    }
}

#[test]
fn t58_down_is_weather_and_gone_is_told_also_after_down() {
    let Some(mut rig) = Rig::new() else {
        return;
    };
    for fanout in [Fanout::Alone, Fanout::Found] {
        let (mut engine, mut handler) = (rig.engine(fanout), rig.forwarder());
        for _ in 0..3 {
            rig.lb.ip("link set lb down");
            assert!(matches!(fault(&mut engine, &mut handler), IoFault::Down));
            let opened = rig.try_engine(Fanout::Alone);
            assert!(matches!(opened, Err(OpenError::Down(name)) if name == "lb"));
            rig.lb.ip("link set lb up");
            rig.send(&[udp(rig.mac, VIP, 1, 18)]);
            let before = handler.sent;
            turn_until(&mut engine, &mut handler, |handler| handler.sent > before);
        }
        if fanout == Fanout::Found {
            rig.lb.ip("link set lb down");
            assert!(matches!(fault(&mut engine, &mut handler), IoFault::Down));
        }
        rig.lb.ip("link del lb");
        while !matches!(fault(&mut engine, &mut handler), IoFault::Gone) {}
        testlink::join(&rig.lb, &rig.wire);
        let index = ifindex(&rig.wire, "wire");
        rig.wire_index = index;
        (rig.socket, rig.ring, rig.sender) = rig.wire.run(move || Rig::attach(index));
    }
}

#[test]
fn what_cannot_be_opened_says_why() {
    let Some(rig) = Rig::new() else { return };
    let open = |interface: &'static str, ifindex| {
        let open = move || {
            let (mtu, ring_mib, fanout, vips) = (1500, 1, Fanout::Alone, &[]);
            AfPacket::open(&Options {
                interface,
                ifindex,
                mtu,
                ring_mib,
                fanout,
                vips,
            })
        };
        rig.lb.run(open).expect_err("cannot be opened").to_string()
    };
    assert_eq!(open("eth7", 77), "there is no interface eth7");
    assert_eq!(
        open("lo", 1),
        "interface lo is no Ethernet (ARPHRD type 772)"
    );
}
