//! What the proxy's workers share, and how others speak to them.

use super::budget::Budget;
use super::gates::Gates;
use super::poller::Waker;
use super::{Cleared, Clearing, ConnectionRow, ListAsk, ProxyPlan};
use crate::live::Live;
use lbcore::time::Tick;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{mpsc, watch};

/// What a worker is told.
#[derive(Debug)]
pub(super) enum Command {
    /// Listen on these endpoints.
    Plan(Arc<ProxyPlan>),
    /// Send matching connections.
    List(ListAsk, mpsc::Sender<Vec<ConnectionRow>>),
    /// End matching connections and sessions, or only count them; say how many.
    Clear(ListAsk, Clearing, mpsc::Sender<Cleared>),
    /// Accept no more; reset what is left at the time given.
    Finish(Tick),
}

/// What one worker made of its plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Report {
    pub plan: Arc<ProxyPlan>,
    pub trouble: Vec<String>,
}

/// One worker, for the others.
#[derive(Debug)]
pub(super) struct Post {
    pub waker: Waker,
    mailbox: Mutex<VecDeque<Command>>,
    /// It stopped accepting for want of room that another worker's connections may give back.
    waits: AtomicBool,
    pub report: watch::Sender<Report>,
}

/// All workers.
#[derive(Debug)]
pub(super) struct Shared {
    pub live: Arc<Live>,
    pub budget: Arc<Budget>,
    pub gates: Gates,
    pub posts: Vec<Post>,
    /// Workers that still have connections, once all are told to finish.
    pub unfinished: AtomicUsize,
}

impl Post {
    pub fn new(waker: Waker) -> Self {
        Post {
            waker,
            mailbox: Mutex::default(),
            waits: AtomicBool::new(false),
            report: watch::Sender::default(),
        }
    }

    fn mailbox(&self) -> MutexGuard<'_, VecDeque<Command>> {
        self.mailbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the worker something. Who tells are few: the plan's follower, and people who list.
    pub fn tell(&self, command: Command) {
        self.mailbox().push_back(command);
        self.waker.wake();
    }

    /// The next thing the worker was told.
    pub fn next(&self) -> Option<Command> {
        self.mailbox().pop_front()
    }

    /// The worker waits for room, or no longer. It looks for room once more after it said so, for
    /// what was given back before that woke nobody.
    pub fn wait_for_room(&self, waits: bool) {
        self.waits.store(waits, SeqCst);
    }
}

impl Shared {
    /// A worker that is to finish has no connection left, for the first time.
    pub fn has_finished(&self) {
        if self.unfinished.fetch_sub(1, SeqCst) == 1 {
            self.posts.iter().for_each(|post| post.waker.wake());
        }
    }

    /// Whether no worker has any. Until then each answers, and its sessions go on.
    pub fn all_have_finished(&self) -> bool {
        self.unfinished.load(SeqCst) == 0
    }

    /// A connection of worker `of` has ended: others who wait for room look again.
    pub fn room(&self, of: usize) {
        for (at, post) in self.posts.iter().enumerate() {
            if at != of && post.waits.load(SeqCst) && post.waits.swap(false, SeqCst) {
                post.waker.wake();
            }
        }
    }
}
