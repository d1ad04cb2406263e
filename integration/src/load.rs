//! Frames at a steady rate on WIRE. The sender knows what it sent; a [`crate::tally::Tally`] knows
//! what came back.

use crate::netns::Netns;
use crate::wire::RawSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Frames sent in one go: small against every queue on the way.
const BURST: u32 = 20;

/// What a late sender makes up for at once, as a part of a second; what it is later by is never sent. One that
/// stood still for a second would flood every queue on the way.
const MADE_UP_FOR: f64 = 0.1;

/// Sends frames in turn, `rate` a second, until it is stopped.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Load {
    /// Starts sending `frames` over and over from `netns`.
    pub fn start(netns: &Netns, frames: Vec<Vec<u8>>, rate: u32) -> Load {
        let (stop, sent) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
        );
        let socket = RawSocket::open(netns);
        let (stopped, counter) = (Arc::clone(&stop), Arc::clone(&sent));
        let thread = netns.spawn("load", move || {
            let start = Instant::now();
            let (mut next, mut left_out) = (frames.iter().cycle(), 0);
            let made_up_for = u64::from(BURST).max((MADE_UP_FOR * f64::from(rate)) as u64);
            while !stopped.load(Ordering::Relaxed) {
                let due = (start.elapsed().as_secs_f64() * f64::from(rate)) as u64;
                let done = counter.load(Ordering::Relaxed) + left_out;
                if done + u64::from(BURST) > due {
                    std::thread::sleep(Duration::from_micros(200));
                    continue;
                }
                left_out += (due - done).saturating_sub(made_up_for);
                for frame in next.by_ref().take(BURST as usize) {
                    // A frame the queue did not take was not sent, and is not counted.
                    if socket.send(frame).is_ok() {
                        counter.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
        });
        Load {
            stop,
            sent,
            thread: Some(thread),
        }
    }

    /// Frames sent so far.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Waits until `more` further frames were sent.
    ///
    /// # Panics
    /// When they are not within 20 s.
    pub fn wait_sent(&self, more: u64) {
        let goal = self.sent() + more;
        crate::wait_until("the load was sent", Duration::from_secs(20), || {
            self.sent() >= goal
        });
    }

    /// Stops and returns how many were sent.
    pub fn stop(mut self) -> u64 {
        self.end();
        self.sent()
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.end();
    }
}
