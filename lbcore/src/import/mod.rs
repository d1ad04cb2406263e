//! What other tools know, as a configuration of lbd: text in, TOML out, and what had no equivalent.

pub mod kubernetes;

/// What an import gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// A whole configuration file, with comments.
    pub toml: String,
    /// How many services it has.
    pub services: usize,
    /// What was left out, or is not the same, in file order.
    pub findings: Vec<Finding>,
    /// What must hold for the result to work, in whole sentences; the file says it, too.
    pub conditions: Vec<&'static str>,
}

/// Something that is not in the result as it was in the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it is about: `"Service default/web"`.
    pub about: String,
    /// What became of it, and why.
    pub what: String,
}
