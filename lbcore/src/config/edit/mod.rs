//! A change of the configuration as a command asks for it, and the files that then say so.
//!
//! First the change is made to what the files mean ([`model`]), then each file is made to say
//! that ([`fit`]): values are replaced in place; keys, sections and items of lists are put in and
//! taken out; every other byte stays. `toml_edit` tells where everything stands. Its own writer
//! would lose line ends and move comments.

mod align;
mod fit;
mod inline;
mod literal;
mod model;
mod patch;
mod splice;
mod trivia;

pub(super) use model::place;

use super::{Checked, ConfigError, SourceFile, Sources};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use toml_edit::Document;

/// Keys of a section with their values, as the file has them: `{"weight": 5}`,
/// `{"proxy": {"retries": 3}}`, `{"check": [{"type": "tcp"}]}`. On a section that is there they are
/// a merge patch (RFC 7396): what is not named stays, `null` takes a key out and so back to its
/// default, a list replaces the old one.
pub type Keys = Map<String, Value>;

/// One change. Services go by name, reals by their [place](super::Real::place).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "edit", rename_all = "snake_case", deny_unknown_fields)]
pub enum Edit {
    /// A new service, the last one of the main file.
    AddService {
        /// All of it, its `name` and its reals included.
        keys: Keys,
    },
    /// Other values of a service.
    SetService {
        /// Its name.
        service: String,
        /// What becomes different.
        keys: Keys,
    },
    /// A service less.
    RemoveService {
        /// Its name.
        service: String,
    },
    /// A new real, the last one of its service.
    AddReal {
        /// Name of the service.
        service: String,
        /// All of it.
        keys: Keys,
    },
    /// Other values of a real.
    SetReal {
        /// Name of the service.
        service: String,
        /// Which real.
        real: SocketAddr,
        /// What becomes different.
        keys: Keys,
    },
    /// A real less.
    RemoveReal {
        /// Name of the service.
        service: String,
        /// Which real.
        real: SocketAddr,
    },
}

/// Why a configuration cannot be changed so.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum EditError {
    /// No service has this name.
    #[error("there is no service {service}")]
    NoSuchService {
        /// The name.
        service: String,
    },
    /// The service has no real there.
    #[error("service {service} has no real {}", in_words(.real))]
    NoSuchReal {
        /// The service.
        service: String,
        /// Where.
        real: SocketAddr,
    },
    /// A service to be added is there.
    #[error("there is a service {service} already")]
    ServiceExists {
        /// Its name.
        service: String,
    },
    /// A real to be added is there.
    #[error("service {service} has a real {} already", in_words(.real))]
    RealExists {
        /// The service.
        service: String,
        /// Where.
        real: SocketAddr,
    },
    /// A value that no file can hold.
    #[error("{key}: {why}")]
    Value {
        /// The key.
        key: String,
        /// What is wrong with its value.
        why: &'static str,
    },
    /// Nothing can be found in the file.
    #[error("{} is no TOML file", .path.display())]
    NotToml {
        /// The file.
        path: PathBuf,
    },
    /// The file has a shape in which this cannot be written.
    #[error("{} is written in a way that lbd cannot change", .path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
    },
    /// What comes out is no good configuration.
    #[error("it would be no good configuration: {}", first(.faults))]
    Bad {
        /// The files as they would be.
        sources: Box<Sources>,
        /// Every fault of them.
        faults: Vec<ConfigError>,
    },
}

/// A configuration after a change.
#[derive(Clone, Debug, PartialEq)]
pub struct Edited {
    /// Its files; those that did not have to change are the same, byte for byte.
    pub sources: Sources,
    /// What they say.
    pub checked: Checked,
}

/// Makes `edits`, one after the other, in the files that have what they speak of.
///
/// # Errors
/// The first edit that cannot be made, or what is wrong with the result. All or nothing.
pub fn edit(sources: &Sources, edits: &[Edit]) -> Result<Edited, EditError> {
    let before = meanings(sources)?;
    let mut wanted = before.clone();
    for edit in edits {
        patch::apply(&mut wanted, edit)?;
    }
    let mut sources = sources.clone();
    for ((file, wanted), before) in sources.files_mut().zip(&wanted).zip(&before) {
        if wanted != before {
            file.text = write(&file.path, &file.text, wanted)?;
        }
    }
    match sources.check() {
        Ok(checked) => Ok(Edited { sources, checked }),
        Err(faults) => Err(EditError::Bad {
            sources: Box::new(sources),
            faults,
        }),
    }
}

/// What each of the files means.
///
/// # Errors
/// One of them is no TOML.
pub(super) fn meanings(sources: &Sources) -> Result<Vec<Keys>, EditError> {
    let meaning = |file: &SourceFile| Ok(model::meaning(read(&file.path, &file.text)?.as_table()));
    sources.files().map(meaning).collect()
}

/// The same configuration in the main file alone.
///
/// # Errors
/// One of the files is no TOML.
pub(super) fn flatten(sources: &Sources) -> Result<String, EditError> {
    let mut files = meanings(sources)?.into_iter();
    let mut main = files.next().unwrap_or_default();
    let included = main.remove("include");
    if included.is_none() {
        return Ok(sources.main.text.clone());
    }
    for mut file in files {
        if let Some(Value::Array(services)) = file.remove("service") {
            patch::items(&mut main, "service").extend(services);
        }
    }
    write(&sources.main.path, &sources.main.text, &main)
}

/// The text that says `wanted`, and is otherwise `text`.
fn write(path: &Path, text: &str, wanted: &Keys) -> Result<String, EditError> {
    let text = fit::fitted(text, &read(path, text)?, wanted);
    // Whatever odd shape a file has: it says what was asked and nothing else, or is not touched.
    match read(path, &text) {
        Ok(document)
            if model::without_empty(&model::meaning(document.as_table()))
                == model::without_empty(wanted) =>
        {
            Ok(text)
        }
        _ => Err(EditError::Unwritable {
            path: path.to_owned(),
        }),
    }
}

fn read<'t>(path: &Path, text: &'t str) -> Result<Document<&'t str>, EditError> {
    Document::parse(text).map_err(|_| EditError::NotToml {
        path: path.to_owned(),
    })
}

pub(super) fn in_words(place: &SocketAddr) -> String {
    match place.port() {
        0 => place.ip().to_string(),
        _ => place.to_string(),
    }
}

fn first(faults: &[ConfigError]) -> String {
    match faults {
        [] => "it is empty".to_owned(),
        [only] => only.what(),
        [first, rest @ ..] => format!("{}; and {} more", first.what(), rest.len()),
    }
}

#[cfg(test)]
mod tests;
