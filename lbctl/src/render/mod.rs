//! Views as people see them. Everything printed goes through [`Page`], which is where text from
//! elsewhere loses what could move a cursor.

pub mod bundle;
pub mod change;
pub mod check_now;
pub mod config;
pub mod doctor;
pub mod events;
pub mod explain;
pub mod flows;
pub mod json;
pub mod log;
pub mod maintenance;
pub mod node;
mod page;
pub mod real;
pub mod reload;
pub mod service;
pub mod status;
pub mod trace;
pub mod vip;
pub mod words;

pub use lbcore::human;
pub use page::{Look, Page, Tone};

#[cfg(test)]
mod tests;
