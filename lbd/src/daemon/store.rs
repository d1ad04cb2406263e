//! The configuration's files as lbd writes them: whole or not at all, and never over what somebody
//! else has written meanwhile.

use lbcore::config::{SourceFile, Sources};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

/// Why a file is not written. It is what it was.
#[derive(Debug, thiserror::Error)]
pub enum NotWritten {
    /// It says something else than lbd last read or wrote.
    #[error("{} was changed by somebody else since lbd read it", .0.display())]
    HandEdited(PathBuf),
    /// lbd may not write it, or nobody may.
    #[error("{} cannot be written: {why}", path.display())]
    ReadOnly {
        /// Which.
        path: PathBuf,
        /// In words.
        why: String,
    },
    /// Writing it failed: the disk is full, or broken.
    #[error("{}: {source}", path.display())]
    Failed {
        /// Which.
        path: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
}

/// What is said of a file that could not be given back to its owner.
pub type Note = String;

/// Before a change: whether the files that differ between `old` (what was last read or written)
/// and `new` may be written.
///
/// # Errors
/// The first that somebody has changed, or that lbd may not write.
pub fn check(old: &Sources, new: &Sources) -> Result<(), NotWritten> {
    for (old, _) in differing(old, new) {
        let target = Target::of(old)?;
        match target.begin() {
            Ok(_) => {}
            // Room may be made; the change matters more than where it is kept.
            Err(NotWritten::Failed { .. }) => {}
            Err(refused) => return Err(refused),
        }
        target.clean();
    }
    Ok(())
}

/// The same without a trace: only whether somebody has changed them.
///
/// # Errors
/// The first that somebody has.
pub fn unchanged(old: &Sources, new: &Sources) -> Result<(), NotWritten> {
    differing(old, new).try_for_each(|(old, _)| Target::of(old).map(drop))
}

/// Writes every file of `new` that differs from `old`, which is brought up with each: where one
/// fails, `old` tells what is on disk.
///
/// # Errors
/// The first that could not be written, and why.
pub fn write(old: &mut Sources, new: &Sources) -> Result<Vec<Note>, NotWritten> {
    let mut notes = Vec::new();
    let now = std::iter::once(&new.main).chain(&new.included);
    let before = std::iter::once(&mut old.main).chain(&mut old.included);
    for (before, now) in before.zip(now) {
        if before.text != now.text {
            notes.extend(Target::of(before)?.replace(&now.text)?);
            before.text.clone_from(&now.text);
        }
    }
    Ok(notes)
}

/// The files that differ; a set of files is only ever changed by hand.
fn differing<'a>(
    old: &'a Sources,
    new: &'a Sources,
) -> impl Iterator<Item = (&'a SourceFile, &'a SourceFile)> {
    let pairs = old.files().zip(new.files());
    pairs.filter(|(old, new)| old.text != new.text)
}

/// The file behind a path, links followed, with what it was expected to say.
struct Target<'a> {
    shown: &'a Path,
    path: PathBuf,
    temporary: PathBuf,
    about: fs::Metadata,
}

impl<'a> Target<'a> {
    /// # Errors
    /// It is not there, is no file, or says something else.
    fn of(source: &'a SourceFile) -> Result<Self, NotWritten> {
        let shown = source.path.as_path();
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::NotFound => NotWritten::HandEdited(shown.into()),
            _ => sorted(shown, source),
        };
        let path = fs::canonicalize(shown).map_err(failed)?;
        let about = fs::metadata(&path).map_err(failed)?;
        let said = crate::daemon::config_files::read_main(&path).map_err(failed)?;
        if !about.is_file() || said != source.text.as_bytes() {
            return Err(NotWritten::HandEdited(shown.into()));
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        // Hidden and of another ending: no pattern of `include` takes it for a configuration.
        let temporary = path.with_file_name(format!(".{name}.lbd-new"));
        Ok(Target {
            shown,
            path,
            temporary,
            about,
        })
    }

    /// A new empty file beside it that nobody else has. What a killed lbd left there goes.
    fn begin(&self) -> Result<File, NotWritten> {
        let read_only = |why: String| NotWritten::ReadOnly {
            path: self.shown.into(),
            why,
        };
        if self.about.mode() & 0o222 == 0 {
            return Err(read_only(
                "nobody has permission to write it (mode)".to_owned(),
            ));
        }
        self.clean();
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW)
            .open(&self.temporary)
            .map_err(|error| sorted(self.shown, error))
    }

    fn replace(&self, text: &str) -> Result<Option<Note>, NotWritten> {
        let file = self.begin()?;
        let written = self.write_to(file, text);
        if written.is_err() {
            self.clean();
        }
        written.map_err(|error| sorted(self.shown, error))
    }

    fn write_to(&self, mut file: File, text: &str) -> io::Result<Option<Note>> {
        file.write_all(text.as_bytes())?;
        let note = self.give_back(&file)?;
        // After the owner: the kernel takes bits away when that changes.
        file.set_permissions(Permissions::from_mode(self.about.mode() & 0o7777))?;
        file.sync_all()?;
        fs::rename(&self.temporary, &self.path)?;
        let directory = self.path.parent().unwrap_or(Path::new("/"));
        // The new name is in force by now; a directory that cannot be synced changes nothing of it.
        if let Err(error) = File::open(directory).and_then(|directory| directory.sync_all()) {
            tracing::warn!(%error, directory = %directory.display(), "cannot be synced to disk");
        }
        Ok(note)
    }

    /// Owner and group as they were, as far as lbd may.
    fn give_back(&self, file: &File) -> io::Result<Option<Note>> {
        let (now, was) = (file.metadata()?, &self.about);
        let (uid, gid) = (was.uid(), was.gid());
        let wrong_group = now.gid() != gid && fchown(file, None, Some(gid)).is_err();
        let wrong_owner = now.uid() != uid && fchown(file, Some(uid), None).is_err();
        let kept = match (wrong_owner, wrong_group) {
            (false, false) => return Ok(None),
            (true, false) => format!("owner (user id {uid})"),
            (false, true) => format!("group (group id {gid})"),
            (true, true) => format!("owner and group (ids {uid} and {gid})"),
        };
        let shown = self.shown.display();
        Ok(Some(format!(
            "{shown} could not keep its {kept}: lbd may not give files away, so it is lbd's own \
             now; its mode is as it was"
        )))
    }

    fn clean(&self) {
        // It is not there, mostly; where it cannot go, making it anew says why.
        let _ = fs::remove_file(&self.temporary);
    }
}

/// What lbd may not do is something else than what fails.
fn sorted(path: &Path, source: io::Error) -> NotWritten {
    let path = path.to_path_buf();
    match source.raw_os_error() {
        Some(libc::EROFS | libc::EACCES | libc::EPERM) => NotWritten::ReadOnly {
            path,
            why: source.to_string(),
        },
        // A single file that was mounted into a container.
        Some(libc::EBUSY) => NotWritten::ReadOnly {
            path,
            why: "it is a mount of its own; mount its directory instead".to_owned(),
        },
        _ => NotWritten::Failed { path, source },
    }
}

#[cfg(test)]
mod tests;
