//! What the last lbd left.

use super::persist::{Places, Set};
use super::start::{StartError, system};
use crate::sys::shared_file::{self, Mapped};
use crate::xdp;
use lbcore::config::Network;
use lbcore::flow::FlowTable;
use lbcore::net::HashKey;
use std::io;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tracing::{info, warn};

/// By then the program of the last lbd has heeded that it is to remember no new flows: a packet takes it
/// microseconds.
const PAUSED_AFTER: Duration = Duration::from_millis(10);

/// What the last lbd left.
pub(super) struct Recovered {
    pub set: Set,
    pub flows: FlowTable<'static>,
    /// A program of it that goes on, in words for `status`.
    pub left: Option<String>,
}

/// The set of the last lbd, and what is wrong with it.
pub(super) type LastSet = (Option<Set>, Option<String>);

/// Makes sure that no other lbd has these places, until the process ends.
///
/// # Errors
/// Another one has.
pub(super) fn claim(places: &Places) -> Result<(), StartError> {
    let path = places.lock();
    shared_file::lock(&path)
        .or_else(|error| {
            make_room(&path, error)?;
            shared_file::lock(&path)
        })
        .map_err(not_ours)
}

/// Removes what is no file from where one of ours has to be: a pipe, a link or the like is ours to remove
/// from `run_dir`.
///
/// # Errors
/// `error` if it is a file, which may be in use; what the kernel says.
fn make_room(path: &Path, error: io::Error) -> io::Result<()> {
    if std::fs::symlink_metadata(path).is_ok_and(|about| about.is_file()) {
        return Err(error);
    }
    warn!(path = %path.display(), %error, "this is no file of lbd; a new one is made");
    std::fs::remove_file(path)
}

fn not_ours(error: io::Error) -> StartError {
    match error.kind() {
        io::ErrorKind::WouldBlock => StartError::Missing(format!(
            "another lbd runs here ({error}): stop it first (systemctl stop lbd), or give this one \
             a run_dir of its own"
        )),
        _ => system("opening run_dir")(error),
    }
}

/// What the last lbd left beside `last`, as far as it is whole and speaks of the same key; else a new set with an
/// empty table. The table lives in `shared`, the memory of the XDP program, where there is one, else in
/// a file; a table that is in the other place moves.
pub(super) fn recover(
    places: &Places,
    last: LastSet,
    key: &HashKey,
    network: &Network,
    shared: Option<&'static [AtomicU64]>,
    bpf_dir: &Path,
) -> Result<Recovered, StartError> {
    let words = FlowTable::words_for(network.flow_entries);
    let mut left = None;
    let mapped = match shared {
        Some(memory) => {
            // The last lbd's program goes on meanwhile.
            FlowTable::pause_others(memory, true);
            std::thread::sleep(PAUSED_AFTER);
            in_program(memory, &places.flows())
        }
        None => {
            let mapped = in_file(&places.flows(), words, bpf_dir)?;
            left = xdp::detach(bpf_dir)
                .and_then(|()| xdp::remove(bpf_dir))
                .err();
            mapped
        }
    };
    let (set, flows) = take_over(&mapped, last, key)?;
    let left = left.map(|error| {
        format!(
            "an XDP program of the last lbd goes on, by what that one knew, and cannot be detached \
             ({error}): systemctl stop lbd, lbd cleanup as root, systemctl start lbd"
        )
    });
    if let Some(left) = &left {
        warn!("{left}");
    }
    Ok(Recovered { set, flows, left })
}

fn take_over(
    mapped: &Mapped,
    (set, trouble): LastSet,
    key: &HashKey,
) -> Result<(Set, FlowTable<'static>), StartError> {
    if let Some(trouble) = trouble {
        warn!(
            trouble,
            "the set of the last lbd cannot be read; its flows are forgotten"
        );
    }
    // Entries name reals by the set's ids: without the set they mean nothing.
    if let (Some(set), false) = (set, mapped.fresh) {
        match FlowTable::open(mapped.words, key) {
            Ok((flows, recovered)) => {
                FlowTable::pause_others(mapped.words, false);
                info!(
                    flows = recovered.flows,
                    swept = recovered.swept,
                    "flows of the last lbd go on"
                );
                return Ok((set, flows));
            }
            Err(error) => warn!(%error, "the flow table of the last lbd is of no use; a new one"),
        }
    }
    let flows =
        FlowTable::create(mapped.words, key).map_err(|e| StartError::Missing(e.to_string()))?;
    Ok((Set::default(), flows))
}

/// The program's memory, with the flows of a file that an lbd without the program has left.
fn in_program(memory: &'static [AtomicU64], path: &Path) -> Mapped {
    let mut fresh = memory[0].load(Relaxed) == 0;
    if let Ok(file) = shared_file::map(path, memory.len(), false) {
        if fresh {
            copy(file.words, memory);
            fresh = false;
        }
        // What stands in it is old from now on.
        let _ = std::fs::remove_file(path);
    }
    Mapped {
        words: memory,
        fresh,
    }
}

/// The file's memory, with the flows of a program that an lbd has left.
fn in_file(path: &Path, words: usize, bpf_dir: &Path) -> Result<Mapped, StartError> {
    let mut mapped = shared_file::map(path, words, true)
        .or_else(|error| {
            make_room(path, error)?;
            shared_file::map(path, words, true)
        })
        .map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => not_ours(error),
            kind if error.raw_os_error().is_some() => {
                let words = format!("{}: {error}", path.display());
                system("mapping the flow table")(io::Error::new(kind, words))
            }
            _ => system("mapping the flow table")(error),
        })?;
    let pinned = xdp::pinned_flows(bpf_dir, words);
    // Afterwards nobody writes there.
    let _ = xdp::detach(bpf_dir);
    if let Some(pinned) = pinned {
        copy(pinned, mapped.words);
        mapped.fresh = false;
    }
    Ok(mapped)
}

fn copy(from: &[AtomicU64], to: &[AtomicU64]) {
    for (from, to) in from.iter().zip(to) {
        to.store(from.load(Relaxed), Relaxed);
    }
}
