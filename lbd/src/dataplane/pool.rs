//! The worker threads: how many, on which cores, started and joined together.

use super::worker::{Group, Worker};
use crate::io::FrameHandler;
use crate::live::{Live, WorkerShared};
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
    /// Starts one thread for each of `live`'s workers, with a handler made for it. Where an
    /// interface has several, each thread is bound to a core of its own, so that they do not meet
    /// on one; a lone worker goes where the scheduler finds room.
    ///
    /// # Errors
    /// When a thread cannot be made; those made before are told to stop.
    pub fn start<H: FrameHandler + Send + 'static>(
        live: &Arc<Live>,
        ring_mib: usize,
        mut handler: impl FnMut(&Arc<WorkerShared>, usize) -> H,
    ) -> io::Result<Pool> {
        let cores = affinity::allowed_cores().unwrap_or_default();
        let mut members: HashMap<&str, usize> = HashMap::new();
        for worker in live.workers() {
            *members.entry(&worker.interface).or_default() += 1;
        }
        let groups: HashMap<&str, Arc<Group>> = members
            .iter()
            .filter(|(_, members)| **members > 1)
            .map(|(interface, _)| (*interface, Arc::new(Group::default())))
            .collect();

        let mut pool = Pool {
            threads: Vec::new(),
        };
        for (number, me) in live.workers().iter().enumerate() {
            let group = groups.get(me.interface.as_str()).cloned();
            let core = group
                .as_ref()
                .and_then(|_| cores.get(number % cores.len().max(1)).copied());
            let worker = Worker {
                live: live.clone(),
                me: me.clone(),
                group,
                ring_mib,
                handler: handler(me, number),
            };
            let thread = thread::Builder::new()
                .name(format!("lbd-w{number}"))
                .spawn(move || {
                    if let Some(core) = core
                        && let Err(error) = affinity::pin(core)
                    {
                        tracing::warn!("worker {number} is not bound to core {core}: {error}");
                    }
                    worker.run();
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
