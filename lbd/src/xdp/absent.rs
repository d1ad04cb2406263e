//! In an lbd that was built without the feature `xdp` there is no program.

use super::Passed;
use crate::live::event::Link;
use lbcore::director::Counters;
use lbcore::flow::FlowTable;
use lbcore::load::Loads;
use lbcore::service::ServiceTable;
use lbcore::time::Tick;
use std::sync::atomic::AtomicU64;

/// Nobody has one.
#[derive(Debug)]
pub enum FastPath {}

impl FastPath {
    /// Never called.
    pub fn flow_words(&self) -> &'static [AtomicU64] {
        match *self {}
    }

    /// Never called.
    pub fn follow(&mut self, _: &ServiceTable, _: &[Link], _: Tick) {
        match *self {}
    }

    /// Never called.
    pub fn renew(&mut self, _: &FlowTable<'_>, _: Tick) {
        match *self {}
    }

    /// Never called.
    pub fn has_room_again(&self, _: Tick) -> bool {
        match *self {}
    }

    /// Never called.
    pub fn count(&mut self, _: &Counters, _: &Loads) {
        match *self {}
    }

    /// Never called.
    pub fn unfinished(&self, _: usize) -> u64 {
        match *self {}
    }
}

/// Nobody has one.
#[derive(Debug)]
pub enum ToSockets {}

impl ToSockets {
    /// Never called.
    pub fn withdraw(&mut self, _: &ServiceTable) {
        match *self {}
    }

    /// Never called.
    pub fn offer(&mut self, _: &ServiceTable, _: &[Link]) {
        match *self {}
    }

    /// Never called.
    pub fn passed(&self) -> Passed {
        match *self {}
    }

    /// Never called.
    pub fn slot(&self) -> usize {
        match *self {}
    }
}
