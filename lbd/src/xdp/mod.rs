//! XDP programs, and which engine runs on each interface.
//!
//! The engine `xdp`: a program in the receive path decides about packets that are plain, before the
//! kernel makes socket buffers of them; everything else goes up to the raw sockets of engine `af_packet`
//! and the director, as if the program were not there.
//!
//! Program and director share one flow table: its memory is a BPF array that lbd maps. What a snapshot
//! says of services, rings and reals is written to where the program does not read yet, and one word
//! puts it in force, so a packet never sees half a change.
//!
//! The flow table and the links are pinned in `bpf_dir`: while lbd is gone, the program goes on with
//! the last snapshot, and the next lbd finds its flows.
//!
//! The engine `af_xdp` has a program of its own, which hands frames of services to AF_XDP sockets. It
//! decides nothing, and ends with the process.

#[cfg(not(feature = "xdp"))]
mod absent;
mod choose;
#[cfg(feature = "xdp")]
mod endpoints;
#[cfg(feature = "xdp")]
mod fast_path;
#[cfg(feature = "xdp")]
mod modes;
#[cfg(feature = "xdp")]
mod program;
#[cfg(feature = "xdp")]
mod record;
#[cfg(feature = "xdp")]
mod rings;
#[cfg(feature = "xdp")]
mod sockets;
#[cfg(all(test, feature = "xdp"))]
mod tests;
#[cfg(feature = "xdp")]
mod to_sockets;

#[cfg(not(feature = "xdp"))]
pub use absent::{FastPath, ToSockets};
pub use choose::{Choice, Chosen, Engine, Engines, Ground, Queues, Refusal, choose};
#[cfg(feature = "xdp")]
pub use fast_path::FastPath;
#[cfg(feature = "xdp")]
pub use to_sockets::ToSockets;

use std::io;
use std::path::{Path, PathBuf};

/// Where the program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// In the driver.
    Native,
    /// In the kernel's receive path, behind the driver.
    Generic,
}

impl Mode {
    /// As in the configuration.
    pub fn word(self) -> &'static str {
        match self {
            Mode::Native => "native",
            Mode::Generic => "generic",
        }
    }

    /// An interface runs programs in one of them at a time.
    #[cfg(feature = "xdp")]
    fn other(self) -> Mode {
        match self {
            Mode::Native => Mode::Generic,
            Mode::Generic => Mode::Native,
        }
    }
}

/// Packets of services that a program of engine `af_xdp` let go up the stack nevertheless.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passed {
    /// Nobody had finished their checksums.
    pub unfinished: u64,
    /// Larger than the MTU or than a socket has room for: offloads have put them together.
    pub too_large: u64,
}

/// The flow table an earlier lbd has pinned in `bpf_dir`, if there is one of this many words.
#[cfg(feature = "xdp")]
pub fn pinned_flows(
    bpf_dir: &Path,
    flow_words: usize,
) -> Option<&'static [std::sync::atomic::AtomicU64]> {
    program::pinned_flows(bpf_dir, flow_words)
}

/// Without the feature there is none that could be read.
#[cfg(not(feature = "xdp"))]
pub fn pinned_flows(_: &Path, _: usize) -> Option<&'static [std::sync::atomic::AtomicU64]> {
    None
}

/// The pinned flow table.
fn flows_pin(bpf_dir: &Path) -> PathBuf {
    bpf_dir.join("flows")
}

/// Where the link of a program on an interface is pinned. Another interface of the same name has
/// another index, and its program is another.
#[cfg(feature = "xdp")]
fn link_pin(bpf_dir: &Path, ifindex: u32, mode: Mode) -> PathBuf {
    bpf_dir.join(format!("link-{ifindex}-{}", mode.word()))
}

/// Every pin an lbd has left in `bpf_dir`, links first: without its link a program forwards nothing.
pub fn leftovers(bpf_dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(bpf_dir) else {
        return Vec::new();
    };
    let is_link = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.starts_with("link-"))
    };
    let mut found: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(is_link)
        .collect();
    found.sort();
    let flows = flows_pin(bpf_dir);
    found.extend(flows.symlink_metadata().is_ok().then_some(flows));
    found
}

/// Removes what [`leftovers`] lists: programs are detached, the flow table is forgotten.
///
/// # Errors
/// The first that cannot be removed.
pub fn remove(bpf_dir: &Path) -> io::Result<()> {
    leftovers(bpf_dir).iter().try_for_each(|pin| unpin(pin))
}

/// Detaches programs; the flow table stays.
///
/// # Errors
/// The first link that cannot be removed.
pub fn detach(bpf_dir: &Path) -> io::Result<()> {
    let flows = flows_pin(bpf_dir);
    let mut pins = leftovers(bpf_dir);
    pins.retain(|pin| *pin != flows);
    pins.iter().try_for_each(|pin| unpin(pin))
}

fn unpin(pin: &Path) -> io::Result<()> {
    std::fs::remove_file(pin)
        .map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", pin.display())))
}
