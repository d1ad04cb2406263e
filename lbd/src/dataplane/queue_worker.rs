//! One worker thread on AF_XDP sockets: turns its engine for as long as the interface is the one they
//! were opened on. Afterwards frames go up the stack again, to the interface's other worker.

use super::worker::{LOOK_MS, WAIT, tell_running, wait_because};
use crate::io::af_packet::OpenError;
use crate::io::af_xdp::AfXdp;
use crate::io::{FrameHandler, FrameIo, IoFault};
use crate::live::{Live, WorkerShared, WorkerState};
use crate::sys::clock;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::thread;

/// One worker.
pub(super) struct QueueWorker<H> {
    pub live: Arc<Live>,
    pub me: Arc<WorkerShared>,
    pub engine: AfXdp,
    pub handler: H,
}

impl<H: FrameHandler> QueueWorker<H> {
    /// Works until [`Live::stop`].
    pub fn run(mut self) {
        if let Some(link) = self.live.link(&self.me.interface) {
            tell_running(&self.me, &link);
        }
        let why = self.forward();
        self.engine.give_up(&mut self.handler);
        let QueueWorker {
            live, me, engine, ..
        } = self;
        // Without sockets the program lets everything go up the stack.
        drop(engine);
        let Some(why) = why else { return };
        if me.set_state(WorkerState::Ended(why.clone())) {
            tracing::warn!("{}: {why}", me.interface);
        }
        while !live.stopping() {
            me.beat(clock::now());
            thread::park_timeout(WAIT);
        }
    }

    /// Turns the engine until the worker shall stop (`None`), or its sockets are of no use any more.
    fn forward(&mut self) -> Option<String> {
        let mut looked = clock::now();
        while !self.live.stopping() {
            match self.engine.turn(WAIT, &mut self.handler) {
                Ok(()) => {}
                Err(IoFault::Gone) => return Some(gone()),
                Err(fault) => {
                    wait_because(&self.me, fault.to_string());
                    self.me.beat(clock::now());
                    // A fault that stays must not become a busy loop.
                    thread::park_timeout(WAIT);
                }
            }
            let now = clock::now();
            if now.since(looked) >= LOOK_MS {
                looked = now;
                if self.look().is_break() {
                    return Some(gone());
                }
            }
        }
        self.me.add_ring_drops(self.engine.ring_drops());
        None
    }

    /// Follows what changed; breaks if the interface is another one.
    fn look(&mut self) -> ControlFlow<()> {
        self.me.add_ring_drops(self.engine.ring_drops());
        // The program follows the VIPs, and was told of them before this number grew.
        self.me.set_filter_version(self.live.filter().version);
        let Some(link) = self.live.link(&self.me.interface) else {
            return ControlFlow::Continue(()); // The engine itself says when it is gone.
        };
        if link.ifindex != self.engine.ifindex() {
            return ControlFlow::Break(());
        }
        if !link.up {
            wait_because(&self.me, OpenError::Down(link.name).to_string());
        } else if !self.me.is_open() {
            tell_running(&self.me, &link);
        }
        ControlFlow::Continue(())
    }
}

fn gone() -> String {
    "the interface was made anew, and AF_XDP sockets are opened at the start only: raw sockets have \
     every frame until lbd is restarted"
        .to_owned()
}
