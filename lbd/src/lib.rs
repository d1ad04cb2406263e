//! The daemon's rooms. They are a library so that benchmarks and tools can use them; the contract
//! with users is the binary.
//!
//! | floor | rooms |
//! |---|---|
//! | 0 | [`sys`] (the only unsafe), [`live`], [`nft`] |
//! | 1 | [`io`], [`xdp`], [`probe`], [`link`], [`neigh`], [`guard`], [`intercept`], [`vip`], [`kernel`] |
//! | 2 | [`dataplane`], [`proxy`], [`control`], [`doctor`] |
//! | 3 | [`daemon`] |

pub mod live;
pub mod log;
pub mod nft;
#[allow(unsafe_code)]
pub mod sys;

pub mod guard;
pub mod intercept;
pub mod io;
pub mod kernel;
pub mod link;
pub mod neigh;
pub mod probe;
pub mod vip;
pub mod xdp;

pub mod control;
pub mod dataplane;
pub mod doctor;
pub mod proxy;

pub mod daemon;
