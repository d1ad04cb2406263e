//! `include`.

use super::super::faults::Fault;
use super::super::include::Pattern;
use super::string;
use toml::de::DeValue;

/// A pattern of files to include.
pub(in crate::config) fn include(value: &DeValue<'_>) -> Result<Pattern, Fault> {
    Pattern::new(&string(value)?).map_err(|why| Fault::new(why).help("such as \"conf.d/*.toml\""))
}
