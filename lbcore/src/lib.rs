//! The pure part of lbd: it decides, others touch the world.
//!
//! No I/O, no clock, no unsafe: frames, configuration text, results and the time come in as
//! values, and decisions go out as values, so that the daemon, the command line, the benchmarks
//! and the fuzzers all use the same rules.
//!
//! Rooms stand on floors; a room imports only from floors below its own, never sideways:
//!
//! | floor | rooms |
//! |---|---|
//! | 0 | [`id`], [`time`], [`load`], [`net`], [`human`], [`redact`] |
//! | 1 | [`flow`], [`sched`], [`session`], [`health`], [`vip`], [`proxyproto`], [`capture`] |
//! | 2 | [`config`], [`import`] |
//! | 3 | [`service`], [`realserver`] |
//! | 4 | [`director`], [`api`] |
//! | 5 | [`trace`] |
#![forbid(unsafe_code)]

pub mod human;
pub mod id;
pub mod load;
pub mod net;
pub mod redact;
pub mod time;

pub mod capture;
pub mod flow;
pub mod health;
pub mod proxyproto;
pub mod sched;
pub mod session;
pub mod vip;

pub mod config;
pub mod import;

pub mod realserver;
pub mod service;

pub mod api;
pub mod director;

pub mod trace;
