//! The worker threads: how many, on which cores, started and joined together.

use super::queue_worker::QueueWorker;
use super::worker::{Group, Worker};
use crate::io::FrameHandler;
use crate::io::af_xdp::AfXdp;
use crate::live::{Live, Source, WorkerShared};
use crate::sys::packet_socket::PacketSocket;
use crate::sys::{affinity, ethtool};
use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

/// How many workers an interface gets: what the configuration says, or (0) one per receive queue;
/// in no case more than cores we may use. A queue count the driver does not tell, or an interface
/// that is not there yet, counts as one queue.
pub fn workers_for(interface: &str, configured: usize) -> usize {
    let cores = affinity::allowed_cores().map_or(1, |cores| cores.len());
    let queues = || {
        let socket = PacketSocket::new().ok()?;
        ethtool::receive_queues(&socket, interface).ok()
    };
    let wanted = if configured == 0 {
        queues().unwrap_or(1)
    } else {
        configured
    };
    wanted.clamp(1, cores.max(1))
}

/// All worker threads.
#[derive(Debug)]
pub struct Pool {
    threads: Vec<JoinHandle<()>>,
}

impl Pool {
    /// Starts one thread for each of `live`'s workers, with a handler made for it; those on queues
    /// get `engines`, in order. Where an interface has several of a kind, each thread is bound to a
    /// core of its own, so that they do not meet on one; a lone worker goes where the scheduler
    /// finds room.
    ///
    /// # Errors
    /// When a thread cannot be made; those made before are told to stop.
    pub fn start<H: FrameHandler + Send + 'static>(
        live: &Arc<Live>,
        ring_mib: usize,
        engines: Vec<AfXdp>,
        mut handler: impl FnMut(&Arc<WorkerShared>, usize) -> H,
    ) -> io::Result<Pool> {
        let cores = affinity::allowed_cores().unwrap_or_default();
        let mut members: HashMap<(&str, Source), usize> = HashMap::new();
        for worker in live.workers() {
            *members
                .entry((&worker.interface, worker.source))
                .or_default() += 1;
        }
        let mut engines = engines.into_iter();
        let mut groups: HashMap<&str, Arc<Group>> = HashMap::new();

        let mut pool = Pool {
            threads: Vec::new(),
        };
        for (number, me) in live.workers().iter().enumerate() {
            let alone = members.get(&(me.interface.as_str(), me.source)) == Some(&1);
            let core = cores.get(number % cores.len().max(1)).copied();
            let core = core.filter(|_| !alone);
            let handler = handler(me, number);
            let work: Box<dyn FnOnce() + Send> = match me.source {
                Source::RawSocket => {
                    let group = (!alone).then(|| groups.entry(&me.interface).or_default().clone());
                    let worker = Worker {
                        live: live.clone(),
                        me: me.clone(),
                        group,
                        ring_mib,
                        handler,
                    };
                    Box::new(|| worker.run())
                }
                Source::Queues => {
                    let Some(engine) = engines.next() else {
                        continue;
                    };
                    let worker = QueueWorker {
                        live: live.clone(),
                        me: me.clone(),
                        engine,
                        handler,
                    };
                    Box::new(|| worker.run())
                }
            };
            let thread = thread::Builder::new()
                .name(format!("lbd-w{number}"))
                .spawn(move || {
                    if let Some(core) = core
                        && let Err(error) = affinity::pin(core)
                    {
                        tracing::warn!("worker {number} is not bound to core {core}: {error}");
                    }
                    work();
                });
            match thread {
                Ok(thread) => pool.threads.push(thread),
                Err(error) => {
                    live.stop();
                    pool.join();
                    return Err(error);
                }
            }
        }
        Ok(pool)
    }

    /// Whether every thread still runs; one that ended before [`Live::stop`] has panicked.
    pub fn is_whole(&self) -> bool {
        self.threads.iter().all(|thread| !thread.is_finished())
    }

    /// Waits for all threads after [`Live::stop`].
    pub fn join(self) {
        for thread in self.threads {
            thread.thread().unpark();
            if thread.join().is_err() {
                tracing::error!("a packet worker had panicked");
            }
        }
    }
}

#[cfg(test)]
mod tests;
