//! The files one configuration is written in.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// One file: where it is and what it says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
}
