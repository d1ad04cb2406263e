//! Loads the program, attaches it, and finds what an earlier lbd has pinned.

use super::{Mode, endpoints, flows_pin, link_pin, record};
use crate::sys::bpf_memory;
use aya::maps::{Array, Map, MapData, PerCpuArray};
use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::xdp::{XdpLink, XdpMode as AyaMode};
use aya::programs::{ProgramError, Xdp};
use aya::{Ebpf, EbpfLoader};
use lbcore::net::HashKey;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// Words of one line of the flow table, an element of its map.
const LINE_WORDS: usize = 8;

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/director.bpf.o"));

/// A program that was detached is gone by then.
const GIVES_WAY_WITHIN: Duration = Duration::from_secs(1);

/// The name of the program.
const NAME: &str = "director";

/// The loaded program, without the memory of its maps, which nobody gives back once it is mapped.
pub struct Loaded {
    ebpf: Ebpf,
    sizes: Sizes,
}

/// The program and its maps.
pub struct Program {
    loaded: Loaded,
    /// What it shares with lbd.
    pub settings: record::Settings,
    /// The flow table's memory.
    pub flows: &'static [AtomicU64],
    /// Two halves.
    pub reals: Array<MapData, record::RealRecord>,
    /// The memory of what clients dial.
    pub endpoints: &'static [AtomicU64],
    /// The memory rings stand in.
    pub rings: &'static [AtomicU64],
    /// By real.
    pub tallies: PerCpuArray<MapData, record::Tally>,
    /// By interface.
    pub frames: PerCpuArray<MapData, record::Frames>,
}

/// Sizes of what is made.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// 64-bit words of the flow table.
    pub flow_words: usize,
    /// Buckets of half of it, a power of two.
    pub half: usize,
    /// Reals that are counted; flows of others are declined.
    pub reals: usize,
    /// 2^this places for what clients dial.
    pub endpoint_bits: u32,
    /// Rings there is room for.
    pub rings: usize,
}

impl Loaded {
    /// Loads the program, on the flow table that is pinned in `bpf_dir` or on a new one, which is pinned
    /// there. It is attached nowhere yet, and declines everything.
    ///
    /// # Errors
    /// Why not, in words.
    pub fn load(bpf_dir: &Path, key: &HashKey, sizes: Sizes) -> Result<Loaded, String> {
        let pin = flows_pin(bpf_dir);
        let lines = sizes.flow_words / LINE_WORDS;
        let too_many = |_| format!("a flow table of {lines} lines is too large for a BPF map");
        let lines = u32::try_from(lines).map_err(too_many)?;
        discard_unless(&pin, lines)?;
        let begin = sip_begin(key);
        let half_mask = sizes.half as u32 - 1;
        let rings = sizes.rings * record::RING_WORDS;
        let endpoints = endpoints::elements(sizes.endpoint_bits);
        let endpoint_shift = 64 - sizes.endpoint_bits;
        let mut ebpf = EbpfLoader::new()
            .override_global("begin0", &begin[0], true)
            .override_global("begin1", &begin[1], true)
            .override_global("begin2", &begin[2], true)
            .override_global("begin3", &begin[3], true)
            .override_global("half_mask", &half_mask, true)
            .override_global("endpoint_shift", &endpoint_shift, true)
            .map_max_entries("flows", lines)
            .map_max_entries("tallies", sizes.reals as u32)
            .map_max_entries("endpoints", endpoints as u32)
            .map_max_entries("rings", rings as u32)
            .map_pin_path("flows", pin.as_path())
            .load(OBJECT)
            .map_err(|error| format!("the program cannot be made: {}", chain(&error)))?;
        program(&mut ebpf)?
            .load()
            .map_err(|error| format!("the kernel refuses the program: {}", chain(&error)))?;
        Ok(Loaded { ebpf, sizes })
    }

    /// With its maps.
    ///
    /// # Errors
    /// Why not, in words.
    pub fn open(mut self) -> Result<Program, String> {
        let Loaded { ebpf, sizes } = &mut self;
        let endpoints = endpoints::elements(sizes.endpoint_bits) * endpoints::WORDS;
        let settings = words(taken(ebpf, "settings")?, record::SETTINGS_WORDS)?;
        let endpoints = words(taken(ebpf, "endpoints")?, endpoints)?;
        let rings = words(taken(ebpf, "rings")?, sizes.rings * record::RING_WORDS)?;
        let flows = words(taken(ebpf, "flows")?, sizes.flow_words)?;
        Ok(Program {
            settings: record::Settings::new(settings),
            flows,
            reals: made(ebpf, "reals")?,
            endpoints,
            rings,
            tallies: made(ebpf, "tallies")?,
            frames: made(ebpf, "frames")?,
            loaded: self,
        })
    }

    /// Attaches the program to an interface and pins the link, unless an earlier lbd's link is pinned
    /// there: that program goes on until [`Program::take_over`]. One that an earlier lbd left there in
    /// another mode gives way.
    ///
    /// # Errors
    /// Why not, in words.
    pub fn attach(&mut self, bpf_dir: &Path, ifindex: u32, mode: Mode) -> Result<(), String> {
        let pin = link_pin(bpf_dir, ifindex, mode);
        if Self::is_pinned(bpf_dir, ifindex, mode) {
            return Ok(());
        }
        let gave_way = std::fs::remove_file(link_pin(bpf_dir, ifindex, mode.other())).is_ok();
        let program = program(&mut self.ebpf)?;
        let flag = match mode {
            Mode::Native => AyaMode::Driver,
            Mode::Generic => AyaMode::Skb,
        };
        let begin = Instant::now();
        let id = loop {
            match program.attach_to_if_index(ifindex, flag) {
                Ok(id) => break id,
                // The kernel lets go of a link a little later than its pin.
                Err(error)
                    if gave_way && is_taken(&error) && begin.elapsed() < GIVES_WAY_WITHIN =>
                {
                    std::thread::sleep(GIVES_WAY_WITHIN / 100);
                }
                Err(error) => return Err(not_attached(&error)),
            }
        };
        let link = program.take_link(id).map_err(|error| chain(&error))?;
        let link: FdLink = link
            .try_into()
            .map_err(|_| "XDP links need Linux 5.9".to_owned())?;
        link.pin(&pin)
            .map_err(|error| format!("{}: {}", pin.display(), chain(&error)))?;
        Ok(())
    }

    /// Whether an earlier lbd's link is pinned there.
    pub fn is_pinned(bpf_dir: &Path, ifindex: u32, mode: Mode) -> bool {
        PinnedLink::from_pin(link_pin(bpf_dir, ifindex, mode)).is_ok()
    }
}

impl Program {
    /// Replaces the program of the link pinned for an interface by this one, between two packets.
    ///
    /// # Errors
    /// Why not, in words; a link whose interface is gone is removed.
    pub fn take_over(&mut self, bpf_dir: &Path, ifindex: u32, mode: Mode) -> Result<(), String> {
        let pin = link_pin(bpf_dir, ifindex, mode);
        self.replace(&pin).or_else(|why| {
            let _ = std::fs::remove_file(&pin);
            self.loaded
                .attach(bpf_dir, ifindex, mode)
                .map_err(|again| format!("{why}; and anew: {again}"))
        })
    }

    fn replace(&mut self, pin: &Path) -> Result<(), String> {
        let link = PinnedLink::from_pin(pin).map_err(|error| chain(&error))?;
        let link = XdpLink::try_from(FdLink::from(link)).map_err(|error| chain(&error))?;
        let program = program(&mut self.loaded.ebpf)?;
        let id = program
            .attach_to_link(link)
            .map_err(|error| chain(&error))?;
        // The pin keeps it; ours would end with this process.
        drop(program.take_link(id));
        Ok(())
    }

    /// The program, for tests.
    #[cfg(test)]
    pub fn xdp(&mut self) -> &mut Xdp {
        program(&mut self.loaded.ebpf).expect("the program")
    }
}

/// The flow table an earlier lbd has pinned, if it has this many words, and was ever one: an lbd that found
/// no interface for its program may have left the bare memory.
pub fn pinned_flows(bpf_dir: &Path, flow_words: usize) -> Option<&'static [AtomicU64]> {
    let pin = flows_pin(bpf_dir);
    // The unit without the drop-in lets no bpf() through: where there is nothing, nothing is asked.
    pin.symlink_metadata().ok()?;
    let data = MapData::from_pin(pin).ok()?;
    let lines = data.info().ok()?.max_entries() as usize;
    (lines * LINE_WORDS == flow_words).then_some(())?;
    let words = bpf_memory::map(data.fd(), flow_words).ok()?;
    (words.first()?.load(Relaxed) != 0).then_some(words)
}

/// Removes a pinned flow table of another size, and the links of programs that use it.
fn discard_unless(pin: &PathBuf, lines: u32) -> Result<(), String> {
    if pin.symlink_metadata().is_err() {
        return Ok(());
    }
    let fits = MapData::from_pin(pin)
        .ok()
        .and_then(|data| data.info().ok())
        .is_some_and(|info| info.max_entries() == lines);
    match (fits, pin.parent()) {
        (false, Some(dir)) => super::remove(dir).map_err(|error| error.to_string()),
        _ => Ok(()),
    }
}

/// The words that `hash.h` begins with: SipHash's four (Aumasson, Bernstein: SipHash, 2.1) with the key in
/// them, and the half of the first round done that works on the first two alone.
fn sip_begin(key: &HashKey) -> [u64; 4] {
    let [key0, key1] = key.words();
    let v0 = (key0 ^ 0x736f_6d65_7073_6575).wrapping_add(key1 ^ 0x646f_7261_6e64_6f6d);
    let v1 = (key1 ^ 0x646f_7261_6e64_6f6d).rotate_left(13) ^ v0;
    let (v2, v3) = (key0 ^ 0x6c79_6765_6e65_7261, key1 ^ 0x7465_6462_7974_6573);
    [v0.rotate_left(32), v1, v2, v3]
}

fn program(ebpf: &mut Ebpf) -> Result<&mut Xdp, String> {
    let program = ebpf.program_mut(NAME).ok_or("the object has no program")?;
    program.try_into().map_err(|error| chain(&error))
}

pub(super) fn taken(ebpf: &mut Ebpf, name: &str) -> Result<Map, String> {
    ebpf.take_map(name)
        .ok_or_else(|| format!("the program has no map {name}"))
}

pub(super) fn made<M: TryFrom<Map>>(ebpf: &mut Ebpf, name: &str) -> Result<M, String>
where
    M::Error: std::error::Error,
{
    taken(ebpf, name)?
        .try_into()
        .map_err(|error| format!("map {name}: {}", chain(&error)))
}

pub(super) fn words(map: Map, words: usize) -> Result<&'static [AtomicU64], String> {
    let Map::Array(data) = map else {
        return Err("the memory to share is no array".to_owned());
    };
    bpf_memory::map(data.fd(), words).map_err(|error| format!("sharing memory: {error}"))
}

/// Whether another program is there.
fn is_taken(error: &ProgramError) -> bool {
    matches!(errno(error), Some(libc::EBUSY | libc::EEXIST))
}

pub(super) fn not_attached(error: &ProgramError) -> String {
    match errno(error) {
        _ if is_taken(error) => format!(
            "another XDP program is attached there (ip link shows it), and lbd does not replace what it has \
             not pinned in its bpf_dir (one called {NAME} is an lbd's that has another one)"
        ),
        Some(libc::EOPNOTSUPP) => "its driver runs no XDP program".to_owned(),
        Some(libc::EINVAL | libc::ERANGE) => format!(
            "its driver refuses: its MTU may be too large for XDP, or an offload in the way ({})",
            chain(error)
        ),
        _ => chain(error),
    }
}

fn errno(error: &(dyn std::error::Error + 'static)) -> Option<i32> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return io.raw_os_error();
        }
        next = error.source();
    }
    None
}

/// An error with what caused it.
pub(super) fn chain(error: &impl std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    // The verifier's log is for developers; its first line says enough.
    text.lines().next().unwrap_or_default().to_owned()
}
