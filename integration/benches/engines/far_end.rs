//! The far end of the wires: sends frames, counts what comes back, and runs a program without a wire.

use crate::cores;
use crate::object;
use crate::plan::{self, PLAN_BYTES, Pace, Traffic};
use crate::wire::Wire;
use anyhow::{Context, ensure};
use aya::Ebpf;
use aya::maps::{Array, MapData, PerCpuArray, ProgramArray};
use aya::programs::{ProgramFd, TestRun, TestRunAttrs, TestRunOptions, Xdp, XdpMode};
use etherparse::{NetHeaders, PacketHeaders, TransportHeader};
use std::time::Duration;

/// Frames the kernel makes before it sends them, when they are to come fast: its own default.
const BATCH: u32 = 64;
/// When they are paced: fewer, so that they do not come in bursts.
const SMALL_BATCH: u32 = 16;

/// The generator spins at least so long before it gives a frame up: 4,096 calls of the clock.
const PATIENCE_NS: u64 = 40_000;

/// Words of `struct progress`.
const PROGRESS_WORDS: usize = 6;
const SENT: usize = 0;
const RANDOM: usize = 2;
const TIMES: usize = 4;

/// XDP_TX: what a program answers that sends the frame back.
const XDP_TX: u32 = 3;

/// The programs of bpf/wire.bpf.c, and their maps.
pub struct FarEnd {
    ebpf: Ebpf,
    plans: Array<MapData, [u8; PLAN_BYTES]>,
    progresses: Array<MapData, [u64; PROGRESS_WORDS]>,
    returned: PerCpuArray<MapData, u64>,
    times: Array<MapData, u64>,
    under_test: ProgramArray<MapData>,
    template: Vec<u8>,
    pace: Pace,
}

/// What a run sent, and how long it took without the kernel's preparations.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    /// Frames.
    pub frames: u64,
    /// The time.
    pub time: Duration,
}

impl FarEnd {
    /// Builds and loads the programs.
    ///
    /// # Errors
    /// When clang or the kernel refuses.
    pub fn load() -> anyhow::Result<FarEnd> {
        let mut ebpf = object::load("wire")?;
        for name in ["generate", "run_under_test", "count", "empty", "bare"] {
            xdp_mut(&mut ebpf, name)?.load().context(name)?;
        }
        let traffic = Traffic::udp(1);
        Ok(FarEnd {
            plans: object::map(&mut ebpf, "plans")?,
            progresses: object::map(&mut ebpf, "progresses")?,
            returned: object::map(&mut ebpf, "returned")?,
            times: object::map(&mut ebpf, "times")?,
            under_test: object::map(&mut ebpf, "under_test")?,
            ebpf,
            template: plan::template(&traffic),
            pace: Pace::flood(0),
        })
    }

    /// From now on what comes back on this wire is counted.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn count_on(&mut self, wire: &Wire) -> anyhow::Result<()> {
        let index = wire.generator_index;
        let program = xdp_mut(&mut self.ebpf, "count")?;
        let attached = wire
            .generator
            .run(|| program.attach_to_if_index(index, XdpMode::Driver));
        attached.context("count")?;
        Ok(())
    }

    /// Makes the least a balancer can be of the wire's other end: a program that sends frames back.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn answer_bare_on(&mut self, wire: &Wire) -> anyhow::Result<()> {
        let index = wire.lb_index;
        let program = xdp_mut(&mut self.ebpf, "bare")?;
        let attached = wire
            .lb
            .run(|| program.attach_to_if_index(index, XdpMode::Driver));
        attached.context("bare")?;
        Ok(())
    }

    /// Says what the next run sends.
    ///
    /// # Errors
    /// When the maps cannot be written.
    pub fn prepare(&mut self, traffic: &Traffic, pace: Pace) -> anyhow::Result<()> {
        let mut progress = [0; PROGRESS_WORDS];
        // Any but the same flows again in the same order.
        progress[RANDOM] = self.progress()?[RANDOM].wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.progresses.set(0, progress, 0)?;
        self.plans.set(0, plan::record(traffic, &pace), 0)?;
        self.template = plan::template(traffic);
        self.pace = pace;
        Ok(())
    }

    /// Sends what was prepared, on the generator's core; returns when all is sent.
    ///
    /// # Errors
    /// When the kernel refuses, or not all was sent.
    pub fn send(&self, wire: &Wire) -> anyhow::Result<Sent> {
        let Pace {
            frames,
            gap_ns,
            timed,
        } = self.pace;
        let runs = frames * (1 + gap_ns / PATIENCE_NS);
        let batch = match (timed, gap_ns) {
            (true, _) => 1,
            (false, 0) => BATCH,
            (false, _) => SMALL_BATCH,
        };
        let repeat = u32::try_from(runs).context("too many frames")?;
        let program = xdp(&self.ebpf, "generate")?;
        let options = TestRunOptions {
            data_in: Some(&self.template),
            ctx_in: Some(&context(wire.generator_index, self.template.len())),
            repeat,
            attrs: TestRunAttrs::new().xdp_live_frames(batch),
            ..TestRunOptions::default()
        };
        let result = wire.at_generator(|| program.test_run(options))?;
        let sent = self.progress()?[SENT];
        ensure!(sent == frames, "{sent} of {frames} frames were sent");
        Ok(Sent {
            frames,
            time: result.duration * repeat,
        })
    }

    /// Frames that have come back so far, by real.
    ///
    /// # Errors
    /// When the map cannot be read.
    pub fn returned_by_real(&self) -> anyhow::Result<Vec<u64>> {
        let counters = self.returned.iter();
        counters.map(|counter| Ok(counter?.iter().sum())).collect()
    }

    /// Frames that have come back so far.
    ///
    /// # Errors
    /// When the map cannot be read.
    pub fn returned(&self) -> anyhow::Result<u64> {
        Ok(self.returned_by_real()?.iter().sum())
    }

    /// How long timed frames were under way.
    ///
    /// # Errors
    /// When the maps cannot be read.
    pub fn times(&self) -> anyhow::Result<Vec<Duration>> {
        let taken = self.progress()?[TIMES];
        let taken = u32::try_from(taken)?.min(self.times.len());
        (0..taken)
            .map(|n| Ok(Duration::from_nanos(self.times.get(&n, 0)?)))
            .collect()
    }

    /// Nanoseconds that `program` and the making of frames take for each of `repeat` frames of `traffic`,
    /// as if they had come in by `wire`.
    ///
    /// # Errors
    /// When the kernel refuses, or the last frame was not sent back.
    pub fn run_alone(
        &mut self,
        program: &ProgramFd,
        wire: &Wire,
        traffic: &Traffic,
        repeat: u32,
    ) -> anyhow::Result<f64> {
        self.prepare(traffic, Pace::flood(0))?;
        self.under_test.set(0, program, 0)?;
        let runner = xdp(&self.ebpf, "run_under_test")?;
        let mut out = vec![0; self.template.len()];
        let options = TestRunOptions {
            data_in: Some(&self.template),
            data_out: Some(&mut out),
            ctx_in: Some(&context(wire.lb_index, self.template.len())),
            repeat,
            ..TestRunOptions::default()
        };
        let run = || {
            cores::pin(cores::GENERATOR);
            runner.test_run(options)
        };
        let result = wire.lb.run(run)?;
        self.under_test.clear_index(&0)?;
        let verdict = result.return_value;
        ensure!(verdict == XDP_TX, "the last frame's verdict was {verdict}");
        ensure!(
            is_sound(&out)?,
            "the last frame's checksums are wrong: {out:02x?}"
        );
        Ok(result.duration.as_nanos() as f64)
    }

    /// The program that does nothing but send frames back.
    ///
    /// # Errors
    /// When it has no descriptor.
    pub fn empty(&self) -> anyhow::Result<ProgramFd> {
        Ok(xdp(&self.ebpf, "empty")?.fd()?.try_clone()?)
    }

    fn progress(&self) -> anyhow::Result<[u64; PROGRESS_WORDS]> {
        Ok(self.progresses.get(&0, 0)?)
    }
}

/// Whether a frame's checksums are right, by a library that neither lbd nor the generator uses.
fn is_sound(frame: &[u8]) -> anyhow::Result<bool> {
    let packet = PacketHeaders::from_ethernet_slice(frame)?;
    let payload = packet.payload.slice();
    let (ip, found) = match (packet.net, packet.transport) {
        (Some(NetHeaders::Ipv4(ip, _)), Some(TransportHeader::Udp(udp))) => (
            ip.header_checksum == ip.calc_header_checksum(),
            udp.checksum == udp.calc_checksum_ipv4(&ip, payload)?,
        ),
        (Some(NetHeaders::Ipv4(ip, _)), Some(TransportHeader::Tcp(tcp))) => (
            ip.header_checksum == ip.calc_header_checksum(),
            tcp.checksum == tcp.calc_checksum_ipv4(&ip, payload)?,
        ),
        (Some(NetHeaders::Ipv6(ip, _)), Some(TransportHeader::Udp(udp))) => {
            (true, udp.checksum == udp.calc_checksum_ipv6(&ip, payload)?)
        }
        (Some(NetHeaders::Ipv6(ip, _)), Some(TransportHeader::Tcp(tcp))) => {
            (true, tcp.checksum == tcp.calc_checksum_ipv6(&ip, payload)?)
        }
        _ => (false, false),
    };
    Ok(ip && found)
}

/// `struct xdp_md`.
fn context(ifindex: u32, len: usize) -> [u8; 24] {
    let mut bytes = [0; 24];
    bytes[4..8].copy_from_slice(&(len as u32).to_ne_bytes());
    bytes[12..16].copy_from_slice(&ifindex.to_ne_bytes());
    bytes
}

fn xdp<'a>(ebpf: &'a Ebpf, name: &str) -> anyhow::Result<&'a Xdp> {
    Ok(ebpf.program(name).context(name.to_owned())?.try_into()?)
}

fn xdp_mut<'a>(ebpf: &'a mut Ebpf, name: &str) -> anyhow::Result<&'a mut Xdp> {
    Ok(ebpf
        .program_mut(name)
        .context(name.to_owned())?
        .try_into()?)
}
