//! The files of a configuration, read: the main one and those it includes.

use crate::sys::peer;
use lbcore::config::{self, Gather, MAX_BYTES};
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Files as they were read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// The bytes of the main file.
    pub main: Vec<u8>,
    /// Those of the others, each with its path.
    pub included: Vec<(PathBuf, Vec<u8>)>,
}

/// Reads the file at `main` and those it includes: at most one byte more than is accepted, the
/// check says the rest.
///
/// # Errors
/// The path that cannot be read, and what the kernel says.
pub fn read(main: &Path) -> io::Result<Files> {
    read_by(main, &Disk { orders: false })
}

/// As [`read`], of files that lbd obeys.
///
/// # Errors
/// As [`read`]; also a file of somebody else's, or one that anybody may write.
pub fn read_orders(main: &Path) -> io::Result<Files> {
    read_by(main, &Disk { orders: true })
}

fn read_by(main: &Path, disk: &Disk) -> io::Result<Files> {
    let at = |path: &Path, error: io::Error| {
        io::Error::new(error.kind(), format!("{}: {error}", path.display()))
    };
    let bytes = disk.bytes(main, MAX_BYTES + 1).map_err(|e| at(main, e))?;
    let included =
        config::gather(main, &bytes, disk).map_err(|error| at(&error.path, error.source))?;
    Ok(Files {
        main: bytes,
        included,
    })
}

/// The bytes of a main file alone.
///
/// # Errors
/// What the kernel says.
pub fn read_main(main: &Path) -> io::Result<Vec<u8>> {
    Disk { orders: false }.bytes(main, MAX_BYTES + 1)
}

/// The directories in which another file would make another configuration.
pub fn directories(main: &Path, read: &Files) -> Vec<PathBuf> {
    let here = |directory: PathBuf| match directory.as_os_str().is_empty() {
        true => PathBuf::from("."),
        false => directory,
    };
    let mut directories = vec![here(main.parent().unwrap_or(Path::new("")).to_owned())];
    for pattern in config::patterns(&String::from_utf8_lossy(&read.main)) {
        let directory = here(pattern.directory(main));
        if !directories.contains(&directory) {
            directories.push(directory);
        }
    }
    directories
}

struct Disk {
    /// Only what root or lbd's own user answers for.
    orders: bool,
}

/// Why a file with such an owner and mode gives lbd no orders.
fn distrust(about: &Metadata, own_uid: u32) -> Option<String> {
    const OTHERS_WRITE: u32 = 0o002;
    let owner = about.uid();
    if owner != 0 && owner != own_uid {
        return Some(format!(
            "user id {owner} owns it, who is neither root nor lbd's own user and could have lbd do \
             anything; to trust what it says: chown root"
        ));
    }
    (about.is_file() && about.mode() & OTHERS_WRITE != 0).then(|| {
        "anybody may write it, and have lbd do anything; to trust what it says: chmod o-w"
            .to_owned()
    })
}

impl Gather for Disk {
    fn names(&self, directory: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(directory)? {
            names.extend(entry?.file_name().into_string());
        }
        Ok(names)
    }

    fn bytes(&self, file: &Path, at_most: usize) -> io::Result<Vec<u8>> {
        // A pipe in its place must not hold us up.
        let mut options = File::options();
        let file = options
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(file)?;
        if self.orders
            && let Some(why) = distrust(&file.metadata()?, peer::own_uid())
        {
            return Err(io::Error::other(why));
        }
        let mut bytes = Vec::new();
        file.take(at_most as u64).read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn included_files_come_by_name_and_hidden_ones_do_not() {
        let dir = tempfile::tempdir().unwrap();
        let conf = dir.path().join("conf.d");
        fs::create_dir(&conf).unwrap();
        for name in ["b.toml", "a.toml", ".a.toml.swp", "c.toml.bak"] {
            fs::write(conf.join(name), name).unwrap();
        }
        let main = dir.path().join("lbd.toml");
        fs::write(
            &main,
            "include = [\"conf.d/*.toml\", \"none.d/*.toml\", \"conf.d/b.toml\"]\n",
        )
        .unwrap();
        let files = read(&main).unwrap();
        let names: Vec<_> = files
            .included
            .iter()
            .map(|(path, _)| path.clone())
            .collect();
        assert_eq!(names, [conf.join("a.toml"), conf.join("b.toml")]);
        assert_eq!(
            directories(&main, &files),
            [
                dir.path().to_owned(),
                conf.clone(),
                dir.path().join("none.d")
            ]
        );

        fs::write(&main, "include = \"gone.toml\"\n").unwrap();
        let said = read(&main).unwrap_err().to_string();
        assert!(said.contains("gone.toml: No such file"), "{said}");
        let said = read(Path::new("/nonexistent.toml"))
            .unwrap_err()
            .to_string();
        assert!(said.starts_with("/nonexistent.toml: "), "{said}");
    }
}
