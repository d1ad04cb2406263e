//! What the last lbd left.

use super::persist::{Places, Set};
use super::start::{StartError, system};
use crate::sys::shared_file;
use lbcore::config::Network;
use lbcore::flow::FlowTable;
use lbcore::net::HashKey;
use std::io;
use tracing::{info, warn};

/// What the last lbd left, as far as it is whole and speaks of the same key; else a new set with an
/// empty table.
pub(super) fn recover(
    places: &Places,
    key: &HashKey,
    network: &Network,
) -> Result<(Set, FlowTable<'static>), StartError> {
    let words = FlowTable::words_for(network.flow_entries);
    let path = places.flows();
    let mapped = shared_file::map(&path, words, true)
        .or_else(|error| {
            // A pipe, a link or the like is ours to remove from `run_dir`. A file in use is not.
            if std::fs::symlink_metadata(&path).is_ok_and(|about| about.is_file()) {
                return Err(error);
            }
            warn!(path = %path.display(), %error, "this is no flow table; a new one is made");
            std::fs::remove_file(&path)?;
            shared_file::map(&path, words, true)
        })
        .map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => StartError::Missing(format!(
                "another lbd runs here ({error}): stop it first (systemctl stop lbd), or give \
                 this one a run_dir of its own"
            )),
            kind if error.raw_os_error().is_some() => {
                let words = format!("{}: {error}", path.display());
                system("mapping the flow table")(io::Error::new(kind, words))
            }
            _ => system("mapping the flow table")(error),
        })?;
    let (set, trouble) = places.load_set(key);
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
