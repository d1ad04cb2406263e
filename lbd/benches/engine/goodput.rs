//! One bulk TCP stream by direct routing through the engine, against the same stream sent straight
//! to the real, both with offloads at their defaults: almost every frame is a super-frame with an
//! unfinished checksum.

use super::bare::{Bare, Kind};
use super::netns::{enter, index, namespace, run};
use super::rate::Progress;
use super::{RING_MIB, VIP, quantile};
use lbcore::director::DropReason;
use lbcore::net::FrameMeta;
use lbd::io::af_packet::{AfPacket, Fanout, Options};
use lbd::io::{Disposition, FrameHandler, FrameIo};
use std::collections::BTreeMap;
use std::fs::{File, read_to_string};
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// Bytes of a stream.
const STREAM: u64 = 1 << 30;
const REAL: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 3);
/// To the real, from the balancer.
const MACS: [u8; 12] = [2, 0, 0, 0, 1, 3, 2, 0, 0, 0, 1, 2];

/// A client, a balancer and a real, each in a namespace and on one switch.
struct Switch {
    client: File,
    lb: File,
    real: File,
    _switch: File,
}

impl Switch {
    fn new() -> std::io::Result<Self> {
        let (switch, client, lb, real) = (namespace()?, namespace()?, namespace()?, namespace()?);
        enter(&switch);
        run("ip link add br0 type bridge");
        run("ip link set br0 up");
        for (host, namespace) in [(1, &client), (2, &lb), (3, &real)] {
            enter(&switch);
            let path = format!("/proc/{}/fd/{}", std::process::id(), namespace.as_raw_fd());
            run(&format!(
                "ip link add p{host} type veth peer name eth netns {path}"
            ));
            run(&format!("ip link set p{host} master br0 up"));
            enter(namespace);
            run(&format!("ip link set eth address 02:00:00:00:01:0{host}"));
            run("ip link set lo up");
            run("ip link set eth up");
            run(&format!("ip address add 10.9.0.{host}/24 dev eth"));
            run("sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.eth.rp_filter=0");
        }
        let vip = Ipv4Addr::from(VIP);
        enter(&real);
        run(&format!("ip address add {vip}/32 dev lo"));
        run("ip neigh replace 10.9.0.1 lladdr 02:00:00:00:01:01 dev eth");
        enter(&client);
        run(&format!("ip route add {vip}/32 dev eth"));
        run(&format!(
            "ip neigh replace {vip} lladdr 02:00:00:00:01:02 dev eth"
        ));
        run("ip neigh replace 10.9.0.3 lladdr 02:00:00:00:01:03 dev eth");
        Ok(Switch {
            client,
            lb,
            real,
            _switch: switch,
        })
    }

    /// Gbit/s of one stream from the client to an address of the real's.
    fn stream(&self, to: Ipv4Addr) -> f64 {
        enter(&self.real);
        let listener = TcpListener::bind((to, 0)).expect("listen");
        let address = listener.local_addr().expect("address");
        let reader = thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("accept");
            let (mut buffer, mut total) = (vec![0; 1 << 20], 0);
            loop {
                match stream.read(&mut buffer).expect("read") {
                    0 => return total,
                    n => total += n as u64,
                }
            }
        });
        enter(&self.client);
        let begin = Instant::now();
        let mut stream = TcpStream::connect(address).expect("connect");
        let chunk = vec![0x5a; 1 << 20];
        for _ in 0..STREAM / chunk.len() as u64 {
            stream.write_all(&chunk).expect("write");
        }
        drop(stream);
        assert_eq!(reader.join().expect("reader"), STREAM, "bytes arrived");
        STREAM as f64 * 8.0 / begin.elapsed().as_secs_f64() / 1e9
    }

    /// TcpInCsumErrors of the real.
    fn checksum_errors(&self) -> u64 {
        enter(&self.real);
        let snmp = read_to_string("/proc/thread-self/net/snmp").expect("snmp");
        let mut lines = snmp.lines().filter(|line| line.starts_with("Tcp:"));
        let (names, values) = (lines.next().expect("names"), lines.next().expect("values"));
        let mut both = names.split(' ').zip(values.split(' '));
        let (_, errors) = both
            .find(|(name, _)| *name == "InCsumErrors")
            .expect("InCsumErrors");
        errors.parse().expect("a number")
    }
}

/// Sends every frame on to the real, and counts.
#[derive(Default)]
struct ToReal {
    ifindex: u32,
    frames: u64,
    super_frames: u64,
    sent: u64,
    largest: usize,
    lost: BTreeMap<&'static str, u64>,
}

impl FrameHandler for ToReal {
    type Recognised = ();
    fn recognise(&self, _frame: &[u8], _meta: &FrameMeta) {}
    fn begin(&mut self) {}
    fn frame(&mut self, frame: &mut [u8], meta: &FrameMeta, _recognised: &()) -> Disposition {
        self.frames += 1;
        self.super_frames += u64::from(meta.gso_size > 0);
        self.largest = self.largest.max(frame.len());
        frame[..12].copy_from_slice(&MACS);
        Disposition::Forward {
            ifindex: self.ifindex,
        }
    }
    fn sent(&mut self, _ifindex: u32, frames: u64) {
        self.sent += frames;
    }
    fn lost(&mut self, _ifindex: u32, reason: DropReason) {
        *self.lost.entry(reason.word()).or_default() += 1;
    }
    fn idle(&mut self) {}
}

/// What the engine saw, after all rounds.
#[derive(Default)]
struct Seen {
    handler: ToReal,
    ring_drops: u64,
}

/// Balances until told to stop, with the engine or with a bare echo.
fn balance(bare: Option<Kind>, progress: &Progress, seen: &mut Seen, ready: impl FnOnce()) {
    let ifindex = index("eth");
    if let Some(kind) = bare {
        let mut bare = Bare::open(kind, ifindex, RING_MIB, MACS);
        ready();
        return bare.run(progress);
    }
    let options = Options {
        interface: "eth",
        ifindex,
        mtu: 1500,
        ring_mib: RING_MIB as u32,
        fanout: Fanout::Alone,
        vips: &[IpAddr::from(VIP)],
    };
    let mut engine = AfPacket::open(&options).expect("open");
    seen.handler.ifindex = ifindex;
    ready();
    while progress.goes_on() {
        engine
            .turn(Duration::from_millis(10), &mut seen.handler)
            .expect("turn");
    }
    seen.ring_drops += engine.ring_drops();
}

/// Streams directly and through each contender in turns, and prints all.
pub fn compare(rounds: usize) {
    let switch = match Switch::new() {
        Ok(switch) => switch,
        Err(error) => return println!("skipped: no network namespace ({error})"),
    };
    let contenders = [
        ("engine", None),
        (
            "bare V3, virtio headers",
            Some(Kind::V3 {
                header: true,
                bypass: false,
            }),
        ),
        (
            "bare V2, 64 KiB slots, virtio headers",
            Some(Kind::V2 { slot: 65_536 }),
        ),
    ];
    let (mut direct, mut seen) = (Vec::new(), Seen::default());
    let mut balanced = vec![Vec::new(); contenders.len()];
    for _ in 0..rounds {
        direct.push(switch.stream(REAL));
        for ((_, bare), balanced) in contenders.iter().zip(&mut balanced) {
            let progress = Progress::default();
            let (ready, is_ready) = mpsc::channel();
            thread::scope(|scope| {
                let (progress, seen, switch) = (&progress, &mut seen, &switch);
                scope.spawn(move || {
                    enter(&switch.lb);
                    balance(*bare, progress, seen, || {
                        ready.send(()).expect("waited for")
                    });
                });
                is_ready.recv().expect("it opens");
                balanced.push(switch.stream(Ipv4Addr::from(VIP)));
                progress.stop.store(true, Relaxed);
            });
        }
    }
    let direct = quantile(&mut direct, 0.5);
    println!("\n1 GiB over TCP, {rounds} rounds, medians: direct {direct:.2} Gbit/s");
    for ((name, _), balanced) in contenders.iter().zip(&mut balanced) {
        let balanced = quantile(balanced, 0.5);
        println!(
            "{name:38}  {balanced:5.2} Gbit/s, ratio {:.2}",
            balanced / direct
        );
    }
    let Seen {
        handler:
            ToReal {
                frames,
                super_frames,
                largest,
                sent,
                lost,
                ..
            },
        ring_drops,
    } = seen;
    println!(
        "engine: {frames} frames, {super_frames} of them super-frames, the largest of {largest} \
         bytes; {sent} sent, lost {lost:?}, ring drops {ring_drops}; checksum errors at the real \
         (all contenders): {}",
        switch.checksum_errors()
    );
}
