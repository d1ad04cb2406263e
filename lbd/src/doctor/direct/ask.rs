//! Who has an address? Asked of everybody on an interface, from this host's own address there.

use crate::live::event::Link;
use crate::sys::link_socket::LinkSocket;
use lbcore::net::{MacAddr, Prefix};
use lbcore::vip::{self, question};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

/// A question or its answer can get lost: each is asked so often.
const TIMES: u32 = 2;

/// Between two rounds, and after the last one. A kernel answers within milliseconds; one that must
/// not answer all at once (an anycast address, RFC 4861, 7.2.7) within this.
const ROUND: Duration = Duration::from_millis(500);

/// Questions in one visit: each goes to everybody.
const MOST: usize = 256;

/// Machines remembered for one address: more than two have never meant anything else than two.
const MOST_ANSWERS: usize = 16;

/// An answer is 60 bytes, or 86 with its option; the rest of a longer frame is of no concern.
const FRAME: usize = 128;

/// One address on one interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Question {
    pub(super) ifindex: u32,
    pub(super) target: IpAddr,
}

/// What came of the questions.
#[derive(Debug)]
pub(super) struct Heard {
    /// Who answered; a question that was not asked is not there.
    pub(super) answers: BTreeMap<Question, BTreeSet<MacAddr>>,
    /// Why questions could not be asked.
    pub(super) trouble: Option<String>,
    /// When they were.
    pub(super) at: SystemTime,
}

impl Heard {
    /// Everybody who said to have `target`; `None`: it was not asked for.
    pub(super) fn who_has(&self, target: IpAddr) -> Option<BTreeSet<MacAddr>> {
        let of = self.answers.iter().filter(|(q, _)| q.target == target);
        of.map(|(_, macs)| macs.clone()).reduce(|mut all, more| {
            all.extend(more);
            all
        })
    }

    /// Why a question was not asked.
    pub(super) fn why_not(&self) -> String {
        let bound = || format!("only {MOST} questions are asked in one visit");
        self.trouble.clone().unwrap_or_else(bound)
    }
}

/// Asks all at once. What `is_vip` says of an address keeps it from being asked with: that would
/// tell everybody that it is here.
pub(super) async fn all(
    mut questions: Vec<Question>,
    links: &[Link],
    is_vip: impl Fn(IpAddr) -> bool,
) -> Heard {
    let at = SystemTime::now();
    questions.truncate(MOST);
    let mut by_link: BTreeMap<u32, BTreeSet<IpAddr>> = BTreeMap::new();
    for Question { ifindex, target } in questions {
        by_link.entry(ifindex).or_default().insert(target);
    }
    let mut running = JoinSet::new();
    for link in links {
        let Some(targets) = by_link.remove(&link.ifindex) else {
            continue;
        };
        let frames: BTreeMap<IpAddr, Vec<u8>> = targets
            .into_iter()
            .map(|target| {
                (
                    target,
                    question(link.mac, own(link, target, &is_vip), target),
                )
            })
            .collect();
        let (ifindex, name, mac) = (link.ifindex, link.name.clone(), link.mac);
        running.spawn(async move {
            let answers = on(ifindex, mac, &frames).await;
            (ifindex, answers.map_err(|error| format!("{name}: {error}")))
        });
    }
    let mut heard = Heard {
        answers: BTreeMap::new(),
        trouble: None,
        at,
    };
    while let Some(ended) = running.join_next().await {
        match ended {
            Ok((ifindex, Ok(answers))) => heard.answers.extend(
                answers
                    .into_iter()
                    .map(|(target, macs)| (Question { ifindex, target }, macs)),
            ),
            Ok((_, Err(trouble))) => heard.trouble = Some(trouble),
            Err(_) => {}
        }
    }
    heard
}

/// The address to ask with: of the same network if there is one.
fn own(link: &Link, target: IpAddr, is_vip: impl Fn(IpAddr) -> bool) -> Option<IpAddr> {
    let fit = |(a, _): &&(IpAddr, u8)| a.is_ipv4() == target.is_ipv4() && !is_vip(*a);
    let fit: Vec<_> = link.addresses.iter().filter(fit).collect();
    let near =
        |(a, len): &&&(IpAddr, u8)| Prefix::new(*a, *len).is_some_and(|net| net.contains(target));
    let near = fit.iter().find(near);
    near.or(fit.first()).map(|(address, _)| *address)
}

async fn on(
    ifindex: u32,
    own: MacAddr,
    frames: &BTreeMap<IpAddr, Vec<u8>>,
) -> io::Result<BTreeMap<IpAddr, BTreeSet<MacAddr>>> {
    let socket = LinkSocket::open(ifindex)?;
    let mut answers: BTreeMap<IpAddr, BTreeSet<MacAddr>> = frames
        .keys()
        .map(|target| (*target, BTreeSet::new()))
        .collect();
    for _ in 0..TIMES {
        for frame in frames.values() {
            socket.send(frame)?;
        }
        let end = Instant::now() + ROUND;
        while timeout_at(end, socket.readable()).await.is_ok() {
            let mut buffer = [0; FRAME];
            let length = match socket.receive(&mut buffer) {
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) => return Err(error),
            };
            let answer = buffer.get(..length).and_then(answer);
            let Some((target, mac)) = answer.filter(|(_, mac)| *mac != own) else {
                continue;
            };
            if let Some(macs) = answers.get_mut(&target).filter(|m| m.len() < MOST_ANSWERS) {
                macs.insert(mac);
            }
        }
    }
    Ok(answers)
}

/// Whose address is said to be where.
fn answer(frame: &[u8]) -> Option<(IpAddr, MacAddr)> {
    match vip::parse(frame)? {
        vip::Heard::Arp {
            request: false,
            sender,
            sender_ip,
            ..
        } => Some((sender_ip.into(), sender)),
        vip::Heard::Advertisement { mac, target, .. } => Some((target.into(), mac)),
        _ => None,
    }
}
