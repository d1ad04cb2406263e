//! The last configurations that were in force, in `state_dir/history`: one file each, named by its
//! revision. Its first line is a checksum of the rest, the second says where it came from, and then
//! come the texts themselves, so that a person without lbd can read them, too.

use super::persist;
use lbcore::api::{RevisionResult, RevisionView};
use lbcore::config::{SourceFile, Sources};
use lbcore::net::HashKey;
use serde::{Deserialize, Serialize};
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Configurations kept.
pub const KEPT: usize = 20;

/// Tells damage, and keeps no secret: every lbd can read what another has written.
const SEAL: [u8; 16] = *b"lbd history seal";

/// The second line.
#[derive(Serialize, Deserialize)]
struct Head {
    #[serde(flatten)]
    about: RevisionView,
    files: Vec<FileHead>,
}

/// A text among those that follow.
#[derive(Serialize, Deserialize)]
struct FileHead {
    path: PathBuf,
    bytes: usize,
}

/// The last configurations.
#[derive(Debug)]
pub struct History {
    dir: PathBuf,
    /// The oldest first.
    revisions: Vec<RevisionView>,
    /// The highest number that was ever given, as far as is known.
    last: u64,
    /// What could not be read or written.
    pub warnings: Vec<String>,
}

impl History {
    /// Reads what the last lbd kept under `state_dir`; damaged entries are told and skipped.
    pub fn load(state_dir: &Path) -> Self {
        let mut history = History {
            dir: state_dir.join("history"),
            revisions: Vec::new(),
            last: 0,
            warnings: Vec::new(),
        };
        let numbers = history.numbers();
        history.last = numbers.last().copied().unwrap_or(0);
        for number in numbers.iter().rev().take(KEPT).rev() {
            match read(&history.path(*number)) {
                Ok((about, _)) if about.revision == *number => history.revisions.push(about),
                Ok(_) => history.skip(*number, "it is of another revision"),
                Err(trouble) => history.skip(*number, &trouble),
            }
        }
        history
    }

    /// The oldest first.
    pub fn revisions(&self) -> &[RevisionView] {
        &self.revisions
    }

    /// One of them.
    pub fn get(&self, revision: u64) -> Option<&RevisionView> {
        self.revisions.iter().find(|r| r.revision == revision)
    }

    /// The number of the next configuration.
    pub fn next(&self) -> u64 {
        self.last + 1
    }

    /// The texts of a revision.
    ///
    /// # Errors
    /// In words, why it cannot be read any more.
    pub fn sources(&self, revision: u64) -> Result<Sources, String> {
        read(&self.path(revision)).map(|(_, sources)| sources)
    }

    /// The newest configuration that was not given up, with its texts: the last good one.
    pub fn last_good(&self) -> Option<(&RevisionView, Sources)> {
        let good = |r: &&RevisionView| {
            matches!(r.result, RevisionResult::Saved | RevisionResult::NotSaved)
        };
        let mut newest = self.revisions.iter().rev().filter(good);
        newest.find_map(|about| Some((about, self.sources(about.revision).ok()?)))
    }

    /// Keeps one more; beyond [`KEPT`] the oldest goes.
    ///
    /// # Errors
    /// It could not be written. It is listed all the same.
    pub fn add(&mut self, about: RevisionView, sources: &Sources) -> io::Result<()> {
        self.last = self.last.max(about.revision);
        let kept = self.write(&about, sources);
        self.revisions.push(about);
        self.prune();
        kept
    }

    /// Writes a revision anew: its texts gained a comment, or `change` tells what became of it.
    ///
    /// # Errors
    /// It could not be written, and is told as it was after a restart.
    pub fn amend(
        &mut self,
        revision: u64,
        sources: &Sources,
        change: impl FnOnce(&mut RevisionView),
    ) -> io::Result<()> {
        let Some(about) = self.revisions.iter_mut().find(|r| r.revision == revision) else {
            return Ok(());
        };
        change(about);
        let about = about.clone();
        self.write(&about, sources)
    }

    fn write(&self, about: &RevisionView, sources: &Sources) -> io::Result<()> {
        if !self.dir.is_dir() {
            DirBuilder::new().mode(0o700).create(&self.dir)?;
        }
        let head = Head {
            about: about.clone(),
            files: sources
                .files()
                .map(|file| FileHead {
                    path: file.path.clone(),
                    bytes: file.text.len(),
                })
                .collect(),
        };
        let mut body = serde_json::to_vec(&head)?;
        body.push(b'\n');
        for file in sources.files() {
            body.extend_from_slice(file.text.as_bytes());
        }
        let mut bytes = persist::sealed(&HashKey::new(SEAL), &body).into_bytes();
        bytes.extend(body);
        persist::replace(&self.path(about.revision), &bytes, 0o600, true)
    }

    fn prune(&mut self) {
        let numbers = self.numbers();
        for number in numbers.iter().rev().skip(KEPT) {
            // It is removed with the next one else.
            let _ = fs::remove_file(self.path(*number));
        }
        let surplus = self.revisions.len().saturating_sub(KEPT);
        self.revisions.drain(..surplus);
    }

    /// The numbers of the files that are there, in order.
    fn numbers(&self) -> Vec<u64> {
        let entries = fs::read_dir(&self.dir).into_iter().flatten();
        let number =
            |entry: io::Result<fs::DirEntry>| entry.ok()?.file_name().to_str()?.parse().ok();
        let mut numbers: Vec<u64> = entries.filter_map(number).collect();
        numbers.sort_unstable();
        numbers
    }

    fn skip(&mut self, revision: u64, why: &str) {
        let path = self.path(revision);
        let warning = format!(
            "{}: {why}; revision {revision} cannot be gone back to",
            path.display()
        );
        tracing::warn!(warning, "history");
        self.warnings.push(warning);
    }

    fn path(&self, revision: u64) -> PathBuf {
        self.dir.join(revision.to_string())
    }
}

fn read(path: &Path) -> Result<(RevisionView, Sources), String> {
    let damaged = || "damaged".to_owned();
    let bytes = persist::read(path).map_err(|e| e.to_string())?;
    let bytes = bytes.ok_or("it is gone")?;
    let body = persist::unsealed(&HashKey::new(SEAL), &bytes).ok_or_else(damaged)?;
    let end = body.iter().position(|b| *b == b'\n').ok_or_else(damaged)?;
    let head: Head = serde_json::from_slice(&body[..end]).map_err(|e| e.to_string())?;
    let mut rest = &body[end + 1..];
    let mut files = Vec::new();
    for file in head.files {
        let (text, after) = rest.split_at_checked(file.bytes).ok_or_else(damaged)?;
        let text = String::from_utf8(text.to_vec()).map_err(|_| damaged())?;
        files.push(SourceFile {
            path: file.path,
            text,
        });
        rest = after;
    }
    let mut files = files.into_iter();
    let main = files.next().ok_or_else(damaged)?;
    let included = files.collect();
    Ok((head.about, Sources { main, included }))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use lbcore::api::Timestamp;
    use std::os::unix::fs::MetadataExt;
    use std::time::SystemTime;

    fn about(revision: u64, result: RevisionResult) -> RevisionView {
        RevisionView {
            revision,
            at: Timestamp(SystemTime::UNIX_EPOCH),
            how: "apply".to_owned(),
            uid: Some(0),
            user: Some("root".to_owned()),
            changes: vec![format!("weight: {revision}")],
            result,
            note: None,
            restores: None,
        }
    }

    fn sources(number: u64) -> Sources {
        let mut sources = Sources::one("/etc/lbd/lbd.toml", format!("# {number}\n"));
        sources.included.push(SourceFile {
            path: "/etc/lbd/conf.d/a.toml".into(),
            text: format!("# ä {number}"),
        });
        sources
    }

    fn saved(dir: &Path, numbers: std::ops::RangeInclusive<u64>) -> History {
        let mut history = History::load(dir);
        for number in numbers {
            history
                .add(about(number, RevisionResult::Saved), &sources(number))
                .unwrap();
        }
        history
    }

    #[test]
    fn the_last_twenty_are_kept_over_a_restart_and_private() {
        let dir = tempfile::tempdir().unwrap();
        let before = saved(dir.path(), 1..=25);
        let after = History::load(dir.path());
        assert_eq!(after.revisions(), before.revisions());
        assert_eq!((after.revisions().len(), after.next()), (KEPT, 26));
        assert_eq!(after.revisions()[0].revision, 6);
        assert_eq!(after.sources(6).unwrap(), sources(6));
        assert!(after.sources(5).is_err() && after.get(5).is_none());
        assert_eq!(
            fs::read_dir(dir.path().join("history")).unwrap().count(),
            KEPT
        );
        let mode = |path: &str| fs::metadata(dir.path().join(path)).unwrap().mode() & 0o777;
        assert_eq!((mode("history"), mode("history/25")), (0o700, 0o600));
        let text = fs::read_to_string(dir.path().join("history/25")).unwrap();
        assert!(text.ends_with("# 25\n# ä 25"), "people can read it: {text}");
    }

    #[test]
    fn a_damaged_entry_is_told_and_skipped_and_its_number_not_given_again() {
        let dir = tempfile::tempdir().unwrap();
        saved(dir.path(), 1..=3);
        let path = dir.path().join("history/3");
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            fs::write(&path, &whole[..at]).unwrap();
            assert!(read(&path).is_err(), "cut at {at}");
            let mut flipped = whole.clone();
            flipped[at] ^= 1;
            fs::write(&path, &flipped).unwrap();
            assert!(read(&path).is_err(), "a bit flipped at {at}");
        }
        let history = History::load(dir.path());
        assert_eq!((history.revisions().len(), history.next()), (2, 4));
        assert!(
            history.warnings[0].contains("damaged"),
            "{:?}",
            history.warnings
        );
        assert_eq!(history.last_good().unwrap().0.revision, 2);
    }

    #[test]
    fn what_was_not_confirmed_is_no_good_one() {
        let dir = tempfile::tempdir().unwrap();
        let mut history = saved(dir.path(), 1..=2);
        history
            .add(about(3, RevisionResult::Unconfirmed), &sources(3))
            .unwrap();
        assert_eq!(history.last_good().unwrap().0.revision, 2);
        history
            .amend(3, &sources(3), |r| r.result = RevisionResult::Saved)
            .unwrap();
        let history = History::load(dir.path());
        assert_eq!(
            history.last_good().unwrap(),
            (&about(3, RevisionResult::Saved), sources(3))
        );
    }
}
