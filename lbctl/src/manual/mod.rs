//! The manual pages: lbctl(1) and one for each of its commands from what `--help` says, lbd.toml(5)
//! from the reference of the file.

mod command;
mod file;

pub use command::commands;
pub use file::file;

use clap_mangen::roff::{Roff, roman};

/// One page.
pub struct Page {
    /// The file's name, such as `lbctl-real-drain.1`.
    pub file: String,
    /// The page in man(7)'s macros.
    pub text: Vec<u8>,
}

/// A section of plain paragraphs.
fn paragraphs(roff: &mut Roff, heading: &str, paragraphs: &[&str]) {
    roff.control("SH", [heading]);
    for (at, paragraph) in paragraphs.iter().enumerate() {
        if at > 0 {
            roff.control("PP", []);
        }
        roff.text([roman(*paragraph)]);
    }
}
