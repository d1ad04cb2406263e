//! The proxy as the daemon sees it: started, asked, finished.

use super::budget::Budget;
use super::poller::{Poller, Waker};
use super::shared::{Command, Post, Shared};
use super::worker::Worker;
use super::{Cleared, Clearing, ConnectionRow, ListAsk, ProxyPlan, ProxyState};
use crate::live::Live;
use crate::sys::clock;
use std::io;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task;

/// All proxy workers.
#[derive(Debug)]
pub struct Proxy {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    follower: task::JoinHandle<()>,
}

impl Proxy {
    /// Starts one worker for each of [`Live::proxies`], and follows `plan` from then on, saying in
    /// `state` what came of it. To be called inside a tokio runtime. Raises the process's soft limit
    /// of descriptors to the hard one.
    ///
    /// # Errors
    /// When the kernel has no descriptors, threads or memory for them; those started before end.
    pub fn start(
        live: Arc<Live>,
        plan: watch::Receiver<Arc<ProxyPlan>>,
        state: watch::Sender<ProxyState>,
    ) -> io::Result<Proxy> {
        let budget = Arc::new(Budget::of_process()?);
        Self::start_within(budget, live, plan, state)
    }

    /// The same within a given budget.
    pub fn start_within(
        budget: Arc<Budget>,
        live: Arc<Live>,
        plan: watch::Receiver<Arc<ProxyPlan>>,
        state: watch::Sender<ProxyState>,
    ) -> io::Result<Proxy> {
        let workers = live.proxies().len();
        let posts: io::Result<Vec<Post>> =
            (0..workers).map(|_| Waker::new().map(Post::new)).collect();
        let shared = Arc::new(Shared {
            live,
            budget,
            gates: Default::default(),
            posts: posts?,
            unfinished: AtomicUsize::new(workers),
        });
        let mut threads = Vec::with_capacity(workers);
        for number in 0..workers {
            let spawned = Poller::new().and_then(|poller| {
                let worker = Worker::new(shared.clone(), number, poller)?;
                thread::Builder::new()
                    .name(format!("lbd-p{number}"))
                    .spawn(move || worker.run())
            });
            match spawned {
                Ok(thread) => threads.push(thread),
                Err(error) => {
                    stop(&shared, threads, Duration::ZERO);
                    return Err(error);
                }
            }
        }
        let follower = tokio::spawn(follow(shared.clone(), plan, state));
        Ok(Proxy {
            shared,
            threads: Mutex::new(threads),
            follower,
        })
    }

    /// Whether every thread still runs; one that ended before [`Proxy::finish`] has panicked.
    pub fn is_whole(&self) -> bool {
        self.threads().iter().all(|thread| !thread.is_finished())
    }

    /// The connections that match, in no order, at most as many as asked for.
    pub async fn list(&self, ask: &ListAsk) -> Vec<ConnectionRow> {
        let (reply, mut rows) = mpsc::channel(self.shared.posts.len().max(1));
        for post in &self.shared.posts {
            post.tell(Command::List(ask.clone(), reply.clone()));
        }
        drop(reply);
        let mut all = Vec::new();
        while let Some(some) = rows.recv().await {
            all.extend(some);
        }
        all.truncate(ask.limit);
        all
    }

    /// Ends the connections and sessions that match, or only counts them.
    pub async fn clear(&self, ask: &ListAsk, how: Clearing) -> Cleared {
        let (reply, mut counts) = mpsc::channel(self.shared.posts.len().max(1));
        for post in &self.shared.posts {
            post.tell(Command::Clear(ask.clone(), how, reply.clone()));
        }
        drop(reply);
        let mut all = Cleared::default();
        while let Some(some) = counts.recv().await {
            all.connections += some.connections;
            all.sessions += some.sessions;
        }
        all
    }

    /// Closes the listeners, waits for connections to end, and resets those that are left after
    /// `timeout`.
    pub async fn finish(&self, timeout: Duration) {
        self.follower.abort();
        let (shared, threads) = (self.shared.clone(), std::mem::take(&mut *self.threads()));
        let stopped = task::spawn_blocking(move || stop(&shared, threads, timeout)).await;
        if stopped.is_err() {
            tracing::error!("the proxy did not end in order");
        }
    }

    /// Makes a [`Proxy::finish`] that waits stop waiting.
    pub fn hurry(&self) {
        for post in &self.shared.posts {
            post.tell(Command::Finish(clock::now()));
        }
    }

    fn threads(&self) -> MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn stop(shared: &Shared, threads: Vec<JoinHandle<()>>, timeout: Duration) {
    let deadline = clock::now() + timeout;
    for post in &shared.posts {
        post.tell(Command::Finish(deadline));
    }
    for thread in threads {
        if thread.join().is_err() {
            tracing::error!("a proxy worker had panicked");
        }
    }
}

/// Passes plans on to the workers, and what they make of them back.
async fn follow(
    shared: Arc<Shared>,
    mut plan: watch::Receiver<Arc<ProxyPlan>>,
    state: watch::Sender<ProxyState>,
) {
    let (news, mut heard) = mpsc::channel::<()>(1);
    for post in &shared.posts {
        let (mut report, news) = (post.report.subscribe(), news.clone());
        tokio::spawn(async move {
            while report.changed().await.is_ok() && news.send(()).await.is_ok() {}
        });
    }
    plan.mark_changed();
    loop {
        tokio::select! {
            changed = plan.changed() => {
                if changed.is_err() {
                    return;
                }
                let wanted = plan.borrow_and_update().clone();
                for post in &shared.posts {
                    post.tell(Command::Plan(wanted.clone()));
                }
            }
            Some(()) = heard.recv() => {
                state.send_if_modified(|state| follow_reports(&shared, state));
            }
        }
    }
}

/// Brings the state up to what the workers report; false if it was there already.
fn follow_reports(shared: &Shared, state: &mut ProxyState) -> bool {
    let reports: Vec<_> = shared
        .posts
        .iter()
        .map(|post| post.report.borrow().clone())
        .collect();
    let mut trouble: Vec<String> = reports.iter().flat_map(|r| r.trouble.clone()).collect();
    trouble.sort();
    trouble.dedup();
    let first = reports.first().map(|r| r.plan.clone()).unwrap_or_default();
    let agreed = reports.iter().all(|r| Arc::ptr_eq(&r.plan, &first));
    let next = ProxyState {
        in_force: if agreed {
            Some(first)
        } else {
            state.in_force.clone()
        },
        trouble,
    };
    // Who waits for a plan waits for this very one, not for one like it.
    let same_plan = match (&next.in_force, &state.in_force) {
        (Some(next), Some(before)) => Arc::ptr_eq(next, before),
        (next, before) => next.is_none() && before.is_none(),
    };
    let changed = !same_plan || next.trouble != state.trouble;
    *state = next;
    changed
}
