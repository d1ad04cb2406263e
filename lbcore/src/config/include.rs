//! Files that a configuration includes: which they are, and their reading in the right order.

use super::MAX_BYTES;
use super::value::quote;
use std::io;
use std::path::{Path, PathBuf};
use toml::de::{DeTable, DeValue};

/// Files of one configuration beside the main one. Each is opened at every reload.
pub const MAX_INCLUDED: usize = 256;

/// A name is 255 bytes on every file system, and a pattern is compared with all of a directory.
const MAX_NAME: usize = 255;

/// One entry of `include`: a directory, and a name in it where `*` stands for any characters and
/// `?` for one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    directory: PathBuf,
    name: String,
}

impl Pattern {
    /// As it is written.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(text: &str) -> Result<Self, String> {
        let (directory, name) = match text.rsplit_once('/') {
            Some(("", name)) => ("/", name),
            Some((directory, name)) => (directory, name),
            None => ("", text),
        };
        if name.is_empty() || name == "." || name == ".." {
            return Err(format!("{} names no files", quote(text)));
        }
        if name.len() > MAX_NAME || text.contains('\0') {
            return Err(format!("{} is no name of files", quote(text)));
        }
        if directory.contains(['*', '?']) {
            return Err("a * or ? stands in the last part of the path only".to_owned());
        }
        Ok(Pattern {
            directory: PathBuf::from(directory),
            name: name.to_owned(),
        })
    }

    /// Its directory, for a main file at `main`.
    pub fn directory(&self, main: &Path) -> PathBuf {
        main.parent().unwrap_or(Path::new("")).join(&self.directory)
    }

    /// Whether it may mean several files, or none.
    fn is_open(&self) -> bool {
        self.name.contains(['*', '?'])
    }

    /// Whether a file called so is meant. As in a shell, a `*` does not mean hidden files: editors
    /// and package managers put theirs beside ours.
    pub fn matches(&self, name: &str) -> bool {
        let hidden = name.starts_with('.') && !self.name.starts_with('.');
        !hidden && wild(self.name.as_bytes(), name.as_bytes())
    }
}

/// Whether `name` is what `pattern` says: back to the last `*` where it does not go on.
fn wild(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut last_star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                last_star = Some((p, n));
                p += 1;
            }
            Some(byte) if *byte == b'?' || *byte == name[n] => (p, n) = (p + 1, n + 1),
            _ => {
                let Some((star, from)) = last_star else {
                    return false;
                };
                last_star = Some((star, from + 1));
                (p, n) = (star + 1, from + 1);
            }
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

/// What a main file includes, as far as it can be read; what is wrong with it is told by the check.
pub fn patterns(main: &str) -> Vec<Pattern> {
    let (document, _faults) = DeTable::parse_recoverable(main);
    let pattern = |value: &DeValue<'_>| Pattern::new(value.as_str()?).ok();
    match document
        .get_ref()
        .get("include")
        .map(|value| value.get_ref())
    {
        Some(DeValue::Array(items)) => items
            .iter()
            .take(MAX_INCLUDED)
            .filter_map(|item| pattern(item.get_ref()))
            .collect(),
        Some(value) => pattern(value).into_iter().collect(),
        None => Vec::new(),
    }
}

/// The file system, as the reading of a configuration needs it.
pub trait Gather {
    /// The names in a directory.
    ///
    /// # Errors
    /// What the kernel says.
    fn names(&self, directory: &Path) -> io::Result<Vec<String>>;

    /// The first `at_most` bytes of a file.
    ///
    /// # Errors
    /// What the kernel says.
    fn bytes(&self, file: &Path, at_most: usize) -> io::Result<Vec<u8>>;
}

/// A file that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}", .path.display())]
pub struct GatherError {
    /// Which.
    pub path: PathBuf,
    /// What the kernel says.
    pub source: io::Error,
}

/// The files that the main file at `main` with these bytes includes, in the order of its patterns
/// and for each by name; no file twice. At most one byte more than is accepted is read: the check
/// says the rest.
///
/// # Errors
/// The first file or directory that cannot be read, or that there are too many. A directory that
/// is missing has no files.
pub fn gather(
    main: &Path,
    bytes: &[u8],
    files: &impl Gather,
) -> Result<Vec<(PathBuf, Vec<u8>)>, GatherError> {
    let mut found: Vec<(PathBuf, Vec<u8>)> = Vec::new();
    let mut left = (MAX_BYTES + 1).saturating_sub(bytes.len());
    for pattern in patterns(&String::from_utf8_lossy(bytes)) {
        let directory = pattern.directory(main);
        for name in names(&pattern, &directory, files)? {
            let path = directory.join(name);
            if path == main || found.iter().any(|(earlier, _)| *earlier == path) {
                continue;
            }
            let failed = |source| GatherError {
                path: path.clone(),
                source,
            };
            if found.len() == MAX_INCLUDED {
                let words = format!("too many files are included: at most {MAX_INCLUDED}");
                return Err(failed(io::Error::other(words)));
            }
            let bytes = files.bytes(&path, left).map_err(failed)?;
            left -= bytes.len().min(left);
            found.push((path, bytes));
        }
    }
    Ok(found)
}

fn names(
    pattern: &Pattern,
    directory: &Path,
    files: &impl Gather,
) -> Result<Vec<String>, GatherError> {
    if !pattern.is_open() {
        return Ok(vec![pattern.name.clone()]);
    }
    let here = match directory.as_os_str().is_empty() {
        true => Path::new("."),
        false => directory,
    };
    let mut names = match files.names(here) {
        Ok(names) => names,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(source) => {
            return Err(GatherError {
                path: here.to_owned(),
                source,
            });
        }
    };
    names.retain(|name| pattern.matches(name));
    names.sort();
    Ok(names)
}
