//! The file: a tar archive, compressed, that only its owner may read.

use crate::failure::Failure;
use flate2::Compression;
use flate2::write::GzEncoder;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// The directory everything is in.
const TOP: &str = "lbd-bundle";

/// A bundle being written.
pub struct Archive {
    tar: tar::Builder<GzEncoder<File>>,
    file: PathBuf,
    mtime: u64,
}

impl Archive {
    /// A new file with mode 0600.
    ///
    /// # Errors
    /// It is there already: nothing is overwritten, also not through a link. Or it cannot be made.
    pub fn create(file: &Path, now: SystemTime) -> Result<Archive, Failure> {
        let made = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(file)
            .map_err(|source| match source.kind() {
                io::ErrorKind::AlreadyExists => Failure::Exists { file: file.into() },
                _ => failed(file, source),
            })?;
        Ok(Archive {
            tar: tar::Builder::new(GzEncoder::new(made, Compression::default())),
            file: file.into(),
            mtime: now.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs()),
        })
    }

    /// Adds a file.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn add(&mut self, name: &str, text: &str) -> Result<(), Failure> {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(self.mtime);
        let path = format!("{TOP}/{name}");
        let added = self.tar.append_data(&mut header, path, text.as_bytes());
        added.map_err(|source| failed(&self.file, source))
    }

    /// Writes what is left.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn finish(self) -> Result<(), Failure> {
        let Archive { tar, file, .. } = self;
        let done = tar
            .into_inner()
            .and_then(GzEncoder::finish)
            .and_then(|written| written.sync_all());
        done.map_err(|source| failed(&file, source))
    }
}

fn failed(file: &Path, source: io::Error) -> Failure {
    Failure::Unwritable {
        file: file.into(),
        source,
    }
}
