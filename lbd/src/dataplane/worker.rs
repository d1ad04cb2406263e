//! One worker thread on one interface: opens its engine when the interface is there, turns it, and
//! follows what changes around it: links, the set of VIPs, the wish to stop.

use crate::io::af_packet::{AfPacket, Fanout, OpenError, Options};
use crate::io::{FrameHandler, FrameIo, IoFault};
use crate::live::event::Link;
use crate::live::{Live, WorkerShared, WorkerState};
use crate::sys::clock;
use lbcore::time::Tick;
use std::io;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// How long a turn waits for a frame, and how often a worker without an engine looks again: the
/// time a stop or a new link may take to be noticed.
pub(super) const WAIT: Duration = Duration::from_millis(100);

/// The worker's own look at links, filter and ring drops, in milliseconds: often enough for people,
/// too rare to cost anything under load.
pub(super) const LOOK_MS: u64 = 50;

/// The fanout group of one interface's workers: its id, and the ifindex it belongs to.
pub(super) type Group = Mutex<Option<(u32, u16)>>;

/// One worker.
pub(super) struct Worker<H> {
    pub live: Arc<Live>,
    pub me: Arc<WorkerShared>,
    /// `None` if the interface's only worker.
    pub group: Option<Arc<Group>>,
    pub ring_mib: usize,
    pub handler: H,
}

/// What the engine was opened for.
struct Opened {
    engine: AfPacket,
    link: Link,
    filter: u64,
    looked: Tick,
}

impl<H: FrameHandler> Worker<H> {
    /// Works until [`Live::stop`].
    pub fn run(mut self) {
        while !self.live.stopping() {
            match self.open() {
                Ok(opened) => self.forward(opened),
                Err(why) => {
                    wait_because(&self.me, why);
                    // Flows end also while nothing comes.
                    self.handler.idle();
                    thread::park_timeout(WAIT);
                }
            }
        }
    }

    fn open(&self) -> Result<Opened, String> {
        let name = &self.me.interface;
        let missing = || OpenError::NoInterface(name.clone()).to_string();
        let link = self.live.link(name).ok_or_else(missing)?;
        if !link.up {
            return Err(OpenError::Down(name.clone()).to_string());
        }
        let filter = self.live.filter();
        let open = |fanout| {
            AfPacket::open(&Options {
                interface: name,
                ifindex: link.ifindex,
                mtu: link.mtu,
                ring_mib: u32::try_from(self.ring_mib).unwrap_or(u32::MAX),
                fanout,
                vips: &filter.vips,
            })
        };
        let engine = match &self.group {
            None => open(Fanout::Alone),
            Some(group) => {
                // Held while opening: the first to come founds the group, the others join it.
                let mut group = group.lock().unwrap_or_else(PoisonError::into_inner);
                let known = group.filter(|(ifindex, _)| *ifindex == link.ifindex);
                let engine = open(known.map_or(Fanout::Found, |(_, id)| Fanout::Join(id)));
                let id = engine.as_ref().ok().and_then(AfPacket::fanout_group);
                *group = id.map(|id| (link.ifindex, id)).or(known);
                engine
            }
        };
        let engine = engine.map_err(|error| error.to_string())?;
        self.me.set_filter_version(filter.version);
        tell_running(&self.me, &link);
        Ok(Opened {
            engine,
            link,
            filter: filter.version,
            looked: clock::now(),
        })
    }

    /// Turns the engine until it must be opened anew or the worker shall stop.
    fn forward(&mut self, mut opened: Opened) {
        while !self.live.stopping() {
            match opened.engine.turn(WAIT, &mut self.handler) {
                Ok(()) => {}
                Err(IoFault::Down) => {
                    wait_because(
                        &self.me,
                        OpenError::Down(opened.link.name.clone()).to_string(),
                    );
                }
                Err(fault @ (IoFault::Gone | IoFault::Os(_))) => {
                    wait_because(&self.me, fault.to_string());
                    // A fault that stays must not become a busy loop.
                    thread::park_timeout(WAIT);
                    break;
                }
            }
            let now = clock::now();
            if now.since(opened.looked) >= LOOK_MS {
                opened.looked = now;
                if self.look(&mut opened).is_break() {
                    break;
                }
            }
        }
        self.finish(&mut opened.engine);
        self.me.add_ring_drops(opened.engine.ring_drops());
    }

    /// Forwards what has come: it would be lost with the ring, and nobody would know. What comes meanwhile
    /// may be without end, so no more than a ring holds.
    fn finish(&mut self, engine: &mut AfPacket) {
        let mut turns = engine.ring_slots();
        while turns > 0
            && engine.has_more()
            && engine.turn(Duration::ZERO, &mut self.handler).is_ok()
        {
            turns -= 1;
        }
    }

    /// Follows what changed since the last look; breaks if the engine must be opened anew.
    fn look(&self, opened: &mut Opened) -> ControlFlow<()> {
        self.me.add_ring_drops(opened.engine.ring_drops());
        if let Err(error) = self.follow_filter(opened) {
            wait_because(
                &self.me,
                format!("the receive filter cannot follow the VIPs: {error}"),
            );
            return ControlFlow::Break(());
        }
        let Some(link) = self.live.link(&opened.link.name) else {
            return ControlFlow::Continue(()); // The engine itself says when it is gone.
        };
        if link.ifindex != opened.link.ifindex || link.mtu != opened.link.mtu {
            return ControlFlow::Break(());
        }
        // The engine tells once that the link went down; the link's own state says how it is.
        if !link.up {
            wait_because(&self.me, OpenError::Down(link.name).to_string());
        } else if !self.me.is_open() {
            tell_running(&self.me, &link);
        }
        ControlFlow::Continue(())
    }

    fn follow_filter(&self, opened: &mut Opened) -> io::Result<()> {
        let filter = self.live.filter();
        if filter.version != opened.filter {
            opened.engine.set_filter(&filter.vips)?;
            opened.filter = filter.version;
            self.me.set_filter_version(filter.version);
        }
        Ok(())
    }
}

/// Says that a worker forwards, once.
pub(super) fn tell_running(me: &WorkerShared, link: &Link) {
    if me.set_state(WorkerState::Running) {
        let (name, index) = (&me.interface, me.index);
        let (ifindex, mtu) = (link.ifindex, link.mtu);
        tracing::info!("{name}: worker {index} forwards (ifindex {ifindex}, mtu {mtu})");
    }
}

/// Says why a worker does not forward, once.
pub(super) fn wait_because(me: &WorkerShared, why: String) {
    if me.set_state(WorkerState::Waiting(why.clone())) {
        tracing::warn!("{}: not forwarding: {why}", me.interface);
    }
}
