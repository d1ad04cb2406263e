#![allow(clippy::unwrap_used)]

mod announce;
mod echo;
mod frames;
mod lan;
mod storm;

use super::compose;
use super::*;
use crate::net::MacAddr;
use crate::time::Tick;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

const V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
const V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0x12, 0x3456);
const CLIENT_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 99);
const CLIENT_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x99);

/// 02:00:00:00:00:`last`.
fn mac(last: u8) -> MacAddr {
    MacAddr::new(2, 0, 0, 0, 0, last)
}

const OURS: u8 = 0x50;
const CLIENT: u8 = 0x99;
const REAL: u8 = 0x21;

/// An interface with carrier, a host without the address, a configuration that wants it.
fn facts() -> Facts {
    Facts {
        mac: mac(OURS),
        carrier: true,
        ownership: Ownership::None,
        announce: Announce::Always,
        hold: Hold::Default,
        healthy: true,
        reals: Arc::new(BTreeMap::from([(mac(REAL), "rs1".to_string())])),
    }
}

/// One announcer on made-up time, and what it sent.
struct Bench {
    announcer: Announcer,
    now: Tick,
    sent: Vec<(Tick, Vec<u8>)>,
}

impl Bench {
    fn new(vip: impl Into<IpAddr>, facts: Facts) -> Self {
        let mut out = Vec::new();
        let announcer = Announcer::new(vip.into(), facts, Tick(0), &mut out);
        let sent = out.into_iter().map(|frame| (Tick(0), frame)).collect();
        Bench {
            announcer,
            now: Tick(0),
            sent,
        }
    }

    /// One that has asked and now announces, its first five frames out and forgotten.
    fn announced(vip: impl Into<IpAddr>, facts: Facts) -> Self {
        let mut bench = Bench::new(vip, facts);
        bench.run_to(900);
        assert_eq!(bench.announcer.state(), VipState::Announced);
        bench.sent.clear();
        bench.announcer.news(bench.now);
        bench
    }

    fn with(&mut self, act: impl FnOnce(&mut Announcer, Tick, &mut Vec<Vec<u8>>)) {
        let mut out = Vec::new();
        act(&mut self.announcer, self.now, &mut out);
        self.sent
            .extend(out.into_iter().map(|frame| (self.now, frame)));
    }

    fn hear(&mut self, frame: &[u8]) {
        let heard = parse(frame).expect("a frame of concern");
        self.with(|announcer, now, out| announcer.hear(&heard, now, out));
    }

    fn set(&mut self, facts: Facts) {
        self.with(|announcer, now, out| announcer.set_facts(facts, now, out));
    }

    /// Wakes at every deadline, as the socket does, until `end` ms.
    fn run_to(&mut self, end: u64) {
        while let Some(at) = self.announcer.deadline()
            && at <= Tick(end)
        {
            self.now = self.now.max(at);
            self.with(|announcer, now, out| announcer.tick(now, out));
            self.announcer.news(self.now);
        }
        self.now = Tick(end);
    }

    /// Times in ms of frames equal to `frame`.
    fn times(&self, frame: &[u8]) -> Vec<u64> {
        self.sent
            .iter()
            .filter(|(_, sent)| sent == frame)
            .map(|(at, _)| at.0)
            .collect()
    }

    fn news(&self) -> News {
        self.announcer.current()
    }
}

fn probe(from: u8, vip: impl Into<IpAddr>) -> Vec<u8> {
    compose::probe(mac(from), vip.into())
}

fn announcement(from: u8, vip: impl Into<IpAddr>) -> Vec<u8> {
    compose::announcement(mac(from), vip.into())
}
