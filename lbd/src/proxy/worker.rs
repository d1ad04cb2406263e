//! One worker thread: waits for events, hands them out, sweeps.

use super::Cleared;
use super::poller::{Events, Poller, Token};
use super::shared::{Command, Report, Shared};
use super::tcp::{Scene, Tcp};
use super::udp::Udp;
use crate::sys::clock;
use arc_swap::{ArcSwap, Cache};
use lbcore::net::Protocol;
use lbcore::service::ServiceTable;
use lbcore::time::Tick;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// Idle and half-close timers, byte counts and listeners in trouble are looked at this often.
const SWEEP: Duration = Duration::from_secs(1);

/// Dials in flight are looked at this often, and so are listeners that wait for room: what ends a
/// wait is reported, so this only bounds the time until what nobody reports is seen (another
/// process gave descriptors back).
const GLANCE: Duration = Duration::from_millis(100);

/// One worker.
pub(super) struct Worker {
    shared: Arc<Shared>,
    number: usize,
    poller: Poller,
    table: Cache<Arc<ArcSwap<ServiceTable>>, Arc<ServiceTable>>,
    tcp: Tcp,
    udp: Udp,
    /// What neither can listen on.
    trouble: [Vec<String>; 2],
    finish: Option<Tick>,
    /// Told to finish, it has no connection left, and gets none.
    empty: bool,
}

impl Worker {
    /// Number `number` of all.
    pub fn new(shared: Arc<Shared>, number: usize, poller: Poller) -> io::Result<Self> {
        shared.posts[number].waker.register(&poller)?;
        Ok(Worker {
            table: Cache::new(shared.live.table_cell()),
            tcp: Tcp::new(number, shared.budget.clone()),
            udp: Udp::new(number, shared.posts.len(), &shared.budget),
            trouble: Default::default(),
            poller,
            number,
            finish: None,
            empty: false,
            shared,
        })
    }

    /// Works until told to finish, and then until the last connection has ended.
    pub fn run(mut self) {
        let shared = self.shared.clone();
        let mut events = Events::default();
        let mut swept = clock::now();
        let mut glanced = swept;
        loop {
            let patience = if self.tcp.has_more_to_do() {
                Duration::ZERO
            } else if self.tcp.waits() {
                GLANCE
            } else {
                SWEEP
            };
            if let Err(error) = self.poller.wait(&mut events, patience) {
                // Nothing but a programming error can do this; it must not become a busy loop.
                tracing::error!("proxy worker {} cannot wait: {error}", self.number);
                std::thread::park_timeout(SWEEP);
            }
            let now = clock::now();
            shared.live.proxies()[self.number].beat(now);
            let table = self.table.load().clone();
            let scene = Scene {
                poller: &self.poller,
                shared: &shared,
                table: &table,
                number: self.number,
                now,
            };
            let (tcp, udp) = (&mut self.tcp, &mut self.udp);
            let mut told = false;
            for event in events.iter() {
                match event.token {
                    Token::Mailbox => told = true,
                    Token::Listener(at) => tcp.call(at, &scene),
                    Token::Client(key) => tcp.client(key, event.flags, &scene),
                    Token::Real(key) => tcp.real(key, event.flags, &scene),
                    Token::Datagrams(number) => udp.call(number, &scene),
                    Token::Session(place) => udp.session(place, &scene),
                }
            }
            tcp.go_on(&scene);
            if told {
                tcp.look_for_room();
                while let Some(command) = shared.posts[self.number].next() {
                    match command {
                        Command::Plan(plan) => {
                            let of = |protocol| {
                                let all = plan.endpoints.iter().copied();
                                all.filter(move |k| k.protocol == protocol).collect()
                            };
                            self.trouble = [
                                tcp.listen(of(Protocol::Tcp), &scene),
                                udp.listen(of(Protocol::Udp), &scene),
                            ];
                            let trouble = self.trouble.concat();
                            shared.posts[self.number]
                                .report
                                .send_replace(Report { plan, trouble });
                        }
                        Command::List(ask, reply) => {
                            // Nobody may be there any more.
                            let mut rows = tcp.list(&ask, now);
                            rows.extend(udp.list(&ask, now));
                            let _ = reply.try_send(rows);
                        }
                        Command::Clear(ask, how, reply) => {
                            let cleared = Cleared {
                                connections: tcp.clear(&ask, how, &scene),
                                sessions: udp.clear(&ask, how, &scene),
                            };
                            let _ = reply.try_send(cleared);
                        }
                        Command::Finish(deadline) => {
                            tcp.listen(Vec::new(), &scene);
                            self.finish = Some(deadline);
                        }
                    }
                }
            }
            let glance = u64::try_from(GLANCE.as_millis()).unwrap_or(100);
            if now.since(glanced) >= glance {
                glanced = now;
                tcp.glance(&scene);
            }
            if now.since(swept) >= 1000 {
                swept = now;
                tcp.sweep(&scene);
                udp.sweep(&scene);
                let retried = [tcp.retry_listeners(&scene), udp.retry_listeners(&scene)];
                if retried.iter().any(Option::is_some) {
                    for (held, news) in self.trouble.iter_mut().zip(retried) {
                        *held = news.unwrap_or_else(|| std::mem::take(held));
                    }
                    let (post, trouble) = (&shared.posts[self.number], self.trouble.concat());
                    post.report.send_modify(|report| report.trouble = trouble);
                }
            }
            tcp.resume(&scene);
            if let Some(deadline) = self.finish {
                if now >= deadline {
                    tcp.reset_all(&scene);
                }
                if tcp.is_empty() && !std::mem::replace(&mut self.empty, true) {
                    shared.has_finished();
                }
                // Nobody waits for sessions, which never say that they are done: they go on until
                // the last connection has ended.
                if shared.all_have_finished() || (self.empty && now >= deadline) {
                    udp.end_everything(&scene);
                    return;
                }
            }
        }
    }
}
