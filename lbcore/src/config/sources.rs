//! The files one configuration is written in.

use super::edit::{EditError, flatten};
use super::validate::{all_text, check_all};
use super::{Checked, ConfigError, render};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// One file: where it is and what it says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceFile {
    /// As it was opened, and as people are shown it.
    pub path: PathBuf,
    /// All of it.
    pub text: String,
}

/// The main file and those it includes, in the order they are read in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sources {
    /// The file lbd was started with.
    pub main: SourceFile,
    /// Files that hold services only.
    pub included: Vec<SourceFile>,
}

impl Sources {
    /// A configuration of a single file.
    pub fn one(path: impl Into<PathBuf>, text: impl Into<String>) -> Self {
        Sources {
            main: SourceFile {
                path: path.into(),
                text: text.into(),
            },
            included: Vec::new(),
        }
    }

    /// Every file, the main one first.
    pub fn files(&self) -> impl Iterator<Item = &SourceFile> {
        std::iter::once(&self.main).chain(&self.included)
    }

    /// Files as they were read. Of one that is no text only the beginning is there.
    ///
    /// # Errors
    /// Beside them: bytes that are not UTF-8, of each file the first.
    pub fn from_bytes(
        main: (PathBuf, &[u8]),
        included: &[(PathBuf, Vec<u8>)],
    ) -> (Self, Result<(), Vec<ConfigError>>) {
        let valid = |bytes: &[u8]| {
            let text = bytes.utf8_chunks().next();
            text.map_or(String::new(), |text| text.valid().to_owned())
        };
        let file = |path: &PathBuf, bytes: &[u8]| SourceFile {
            path: path.clone(),
            text: valid(bytes),
        };
        let sources = Sources {
            main: file(&main.0, main.1),
            included: included
                .iter()
                .map(|(path, bytes)| file(path, bytes))
                .collect(),
        };
        let bytes =
            std::iter::once(main.1).chain(included.iter().map(|(_, bytes)| bytes.as_slice()));
        let bytes: Vec<&[u8]> = bytes.collect();
        (sources, all_text(&bytes))
    }

    /// The same configuration as a single file that includes no other.
    ///
    /// # Errors
    /// One of the files is no TOML.
    pub fn flattened(&self) -> Result<String, EditError> {
        flatten(self)
    }

    pub(super) fn files_mut(&mut self) -> impl Iterator<Item = &mut SourceFile> {
        std::iter::once(&mut self.main).chain(&mut self.included)
    }

    /// Checks them all: what they say together, and what may surprise in it.
    ///
    /// # Errors
    /// Every fault of all files, in file order (the first hundred, and how many more).
    pub fn check(&self) -> Result<Checked, Vec<ConfigError>> {
        let names: Vec<String> = self.files().map(SourceFile::name).collect();
        let files = names.iter().zip(self.files());
        let files: Vec<(&str, &str)> = files
            .map(|(name, file)| (name.as_str(), file.text.as_str()))
            .collect();
        check_all(&files)
    }

    /// Findings of these files with the lines they stand on, as [`render`] shows them.
    pub fn render(&self, findings: &[ConfigError], color: bool) -> String {
        let mut out = String::new();
        for finding in findings {
            if !out.is_empty() {
                out.push('\n');
            }
            let file = self.file_of(finding);
            let finding = std::slice::from_ref(finding);
            out.push_str(&render(&file.name(), &file.text, finding, color));
        }
        out
    }

    /// A finding in one line: `/etc/lbd/lbd.toml:12:5: service[web].port: 0 is not a port`.
    pub fn line(&self, finding: &ConfigError) -> String {
        format!("{}:{finding}", self.file_of(finding).name())
    }

    /// What is otherwise in the files of `new`, as a unified diff; empty where nothing is.
    pub fn diff(&self, new: &Sources) -> String {
        let old_files: Vec<&SourceFile> = self.files().collect();
        let new_files: Vec<&SourceFile> = new.files().collect();
        let in_both = |path: &PathBuf| new_files.iter().find(|file| file.path == *path);
        let mut out = String::new();
        for old in &old_files {
            let after = in_both(&old.path).map_or("", |file| file.text.as_str());
            out.push_str(&unified(&old.name(), &old.text, after));
        }
        for new in new_files
            .iter()
            .filter(|new| old_files.iter().all(|old| old.path != new.path))
        {
            out.push_str(&unified(&new.name(), "", &new.text));
        }
        out
    }

    fn file_of(&self, finding: &ConfigError) -> &SourceFile {
        self.files().nth(finding.file).unwrap_or(&self.main)
    }
}

/// Comparing more lines than this, all of them different, would hold up whoever waits.
const MAX_LINES_COMPARED: usize = 20_000;

fn unified(name: &str, old: &str, new: &str) -> String {
    if old == new {
        return String::new();
    }
    let lines = |text: &str| text.lines().count();
    if lines(old).max(lines(new)) > MAX_LINES_COMPARED {
        return format!("--- {name}\n+++ {name}\n(too long to compare line by line)\n");
    }
    let diff = similar::TextDiff::from_lines(old, new);
    diff.unified_diff().header(name, name).to_string()
}

impl SourceFile {
    /// Its path for people: escaped, so that no terminal obeys it.
    pub fn name(&self) -> String {
        let path = self.path.display().to_string();
        let mut name = String::with_capacity(path.len());
        for char in path.chars() {
            match char {
                '"' | '\'' | '\\' => name.push(char),
                _ => name.extend(char.escape_debug()),
            }
        }
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diff_tells_file_and_line() {
        let old = Sources::one("lbd.toml", "a = 1\nb = 2\nc = 3\n");
        let mut new = Sources::one("lbd.toml", "a = 1\nb = 5\nc = 3\n");
        assert_eq!(old.diff(&old), "");
        new.included.push(SourceFile {
            path: "x\u{1b}.toml".into(),
            text: "d = 4\n".into(),
        });
        assert_eq!(
            old.diff(&new),
            "--- lbd.toml\n+++ lbd.toml\n@@ -1,3 +1,3 @@\n a = 1\n-b = 2\n+b = 5\n c = 3\n\
             --- x\\u{1b}.toml\n+++ x\\u{1b}.toml\n@@ -0,0 +1 @@\n+d = 4\n"
        );
    }
}
