//! The configuration as its files have it, beside what runs.

use super::reload::{self, Loaded};
use lbcore::api::DriftView;
use lbcore::config::{self, Config, Sources};
use lbcore::time::Tick;
use std::time::Duration;

/// How often lbd tries again to save what it could not.
pub const SAVE_AGAIN: Duration = Duration::from_secs(10);

/// Good texts, and what they say.
#[derive(Clone, Debug)]
pub struct Written {
    /// The texts.
    pub sources: Sources,
    /// What they say, keys that are read at start only included.
    pub config: Config,
    /// What may surprise in it.
    pub warnings: Vec<String>,
}

impl Written {
    /// What was loaded.
    pub fn of(loaded: &Loaded) -> Self {
        Written {
            sources: loaded.sources.clone(),
            config: loaded.config.clone(),
            warnings: loaded.warnings.clone(),
        }
    }

    /// As if it were loaded again.
    pub fn loaded(&self) -> Loaded {
        Loaded {
            config: self.config.clone(),
            sources: self.sources.clone(),
            warnings: self.warnings.clone(),
        }
    }
}

/// The configuration as its files have it.
#[derive(Clone, Debug)]
pub struct Filed {
    /// As last read or written: what stands on disk, if nobody else wrote there.
    pub on_disk: Written,
    /// What is to stand there: something else only while it waits to be confirmed, or could not be
    /// written.
    pub wanted: Written,
    /// Why it could not be written.
    pub unsaved: Option<Unsaved>,
}

/// What is in force and not in its file.
#[derive(Clone, Debug)]
pub struct Unsaved {
    /// In words.
    pub why: String,
    /// lbd tries again then.
    pub next_try: Tick,
}

impl Filed {
    /// As it was just read.
    pub fn read(loaded: &Loaded) -> Self {
        Filed {
            on_disk: Written::of(loaded),
            wanted: Written::of(loaded),
            unsaved: None,
        }
    }

    /// What runs and is not in the file.
    pub fn drift(&self, running: &Config) -> Vec<DriftView> {
        let mut file = self.on_disk.config.clone();
        // Those are told as warnings: whoever changed the file knows.
        reload::keep_until_restart(running, &mut file);
        let drift = config::drift(&file, running).into_iter();
        drift
            .map(|(key, file, running)| DriftView { key, file, running })
            .collect()
    }
}
