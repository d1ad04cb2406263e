//! The link, and what happens at its far end: floods and pings.

use super::netns::{enter, index, namespace, run};
use super::rate::Progress;
use super::{MACS, VIP};
use lbd::sys::packet_ring::RxRing;
use lbd::sys::packet_send::{FrameSender, Outgoing};
use lbd::sys::packet_socket::PacketSocket;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::sync::atomic::Ordering::{Relaxed, Release};
use std::time::{Duration, Instant};

/// Frames of one super-frame that the kernel cuts for the generator.
const SEGMENTS: usize = 40;
const PAYLOAD: usize = 18;

/// Super-frames that fill a ring, below the 1,024 slots of the smallest one when cut.
const FILL: usize = 25;
const DRAINS: usize = 50;

/// Two namespaces and a veth pair, `lb` and `wire`.
pub struct Net {
    lb: File,
    wire: File,
    pub lb_index: u32,
    wire_index: u32,
}

/// What sends frames at the wire's end.
pub struct Generator {
    ifindex: u32,
    sender: FrameSender,
    bursts: Vec<Vec<u8>>,
}

impl Net {
    /// `None`, with the reason printed, where it is not permitted.
    pub fn new() -> Option<Self> {
        let (lb, wire) = match (namespace(), namespace()) {
            (Ok(lb), Ok(wire)) => (lb, wire),
            (Err(error), _) | (_, Err(error)) => {
                println!("skipped: no network namespace ({error})");
                return None;
            }
        };
        let path = format!("/proc/{}/fd/{}", std::process::id(), wire.as_raw_fd());
        enter(&lb);
        run(&format!(
            "ip link add lb address 02:00:00:00:00:01 type veth peer name wire netns {path}"
        ));
        run("ip link set lb addrgenmode none up");
        let lb_index = index("lb");
        enter(&wire);
        run("ip link set wire addrgenmode none up");
        run("ethtool -K wire tx-udp-segmentation off");
        let wire_index = index("wire");
        Some(Net {
            lb,
            wire,
            lb_index,
            wire_index,
        })
    }

    pub fn enter_lb(&self) {
        enter(&self.lb);
    }
}

impl Generator {
    /// Opens it; the calling thread moves to the wire's namespace.
    pub fn new(net: &Net) -> Self {
        enter(&net.wire);
        let bursts = (0..16).map(|n| frame(1000 + n, SEGMENTS)).collect();
        Generator {
            ifindex: net.wire_index,
            sender: FrameSender::open(net.wire_index, 64 << 20).expect("sockets"),
            bursts,
        }
    }

    /// Fills the ring while the echo holds, and measures how fast it is emptied, many times: frames
    /// per second of the echo's own processor time, with nothing to wait for.
    pub fn drains(&mut self, progress: &Progress) -> f64 {
        let (mut seconds, mut echoed) = (0.0, 0);
        for _ in 0..DRAINS {
            progress.hold.store(true, Release);
            let target = progress.sent.load(Relaxed) + (FILL * SEGMENTS) as u64;
            let ifindex = self.ifindex;
            let frames = self.bursts.iter().cycle().take(FILL);
            let frames = frames.map(|burst| Outgoing {
                ifindex,
                headed: true,
                bytes: burst,
            });
            self.sender.send(frames, |_, error| panic!("fill: {error}"));
            // Until a V3 ring has given up waiting for the last block to fill.
            std::thread::sleep(Duration::from_millis(4));
            // An echo that was waiting has taken the first few.
            echoed += target - progress.sent.load(Relaxed);
            let (begin, used) = (Instant::now(), progress.processor_time());
            progress.hold.store(false, Release);
            while progress.sent.load(Relaxed) < target {
                assert!(begin.elapsed() < Duration::from_secs(5), "frames were lost");
                std::hint::spin_loop();
            }
            seconds += (progress.processor_time() - used).as_secs_f64();
        }
        echoed as f64 / seconds
    }

    /// Floods for a second after a tenth of warming up: frames echoed and offered per second.
    pub fn flood(&mut self, progress: &Progress) -> (f64, f64) {
        self.flood_for(Duration::from_millis(100));
        let (before, begin) = (progress.sent.load(Relaxed), Instant::now());
        let offered = self.flood_for(Duration::from_secs(1));
        let seconds = begin.elapsed().as_secs_f64();
        (
            (progress.sent.load(Relaxed) - before) as f64 / seconds,
            offered as f64 / seconds,
        )
    }

    fn flood_for(&mut self, time: Duration) -> usize {
        let begin = Instant::now();
        let mut sent = 0;
        while begin.elapsed() < time {
            let ifindex = self.ifindex;
            let frames = self.bursts.iter().map(|burst| Outgoing {
                ifindex,
                headed: true,
                bytes: burst,
            });
            self.sender
                .send(frames, |_, error| panic!("flood: {error}"));
            sent += self.bursts.len() * SEGMENTS;
        }
        sent
    }

    /// Round trips of single frames with the link at rest between them, in microseconds.
    pub fn pings(&mut self) -> Vec<f64> {
        let socket = PacketSocket::new().expect("socket");
        socket.carry_virtio_header().expect("virtio header");
        socket.ignore_outgoing().expect("ignore outgoing");
        let mut ring = RxRing::map(&socket, 2048, 4 << 20).expect("ring");
        socket.bind(self.ifindex, libc::ETH_P_ALL).expect("bind");
        let ping = frame(999, 1);
        let mut times = Vec::new();
        for nth in 0..300_u64 {
            // At rest, and not in step with any timer.
            let rest = Duration::from_micros(2000 + nth * 7919 % 1000);
            std::thread::sleep(rest);
            let begin = Instant::now();
            let frames = [Outgoing {
                ifindex: self.ifindex,
                headed: true,
                bytes: &ping,
            }];
            self.sender
                .send(frames.into_iter(), |_, error| panic!("ping: {error}"));
            loop {
                if let Some(received) = ring.take() {
                    let data = ring.data(0).expect("held");
                    let back = data[received.start..].starts_with(&MACS[..6]);
                    ring.release();
                    if back {
                        break;
                    }
                }
                assert!(begin.elapsed() < Duration::from_secs(5), "a ping was lost");
            }
            times.push(begin.elapsed().as_secs_f64() * 1e6);
        }
        times
    }
}

/// A UDP super-frame of so many segments (or an ordinary frame), after its virtio header.
fn frame(port: u16, segments: usize) -> Vec<u8> {
    let payload = PAYLOAD * segments;
    let large = segments > 1;
    // NEEDS_CSUM, GSO_UDP_L4
    let mut frame = if large { vec![1, 5] } else { vec![0, 0] };
    for field in if large {
        [42_u16, PAYLOAD as u16, 34, 6]
    } else {
        [0; 4]
    } {
        frame.extend(field.to_ne_bytes());
    }
    frame.extend([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 7, 8, 0, 0x45, 0]);
    frame.extend((28 + payload as u16).to_be_bytes());
    frame.extend([0, 1, 0x40, 0, 64, 17, 0, 0, 192, 0, 2, 1]);
    frame.extend(VIP);
    frame.extend(port.to_be_bytes());
    frame.extend(53_u16.to_be_bytes());
    frame.extend((8 + payload as u16).to_be_bytes());
    frame.extend([0, 0]);
    frame.resize(frame.len() + payload, 0x5a);
    frame
}
