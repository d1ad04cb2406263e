//! Frames at a steady rate on WIRE, counted exactly.
//!
//! The sender knows what it sent; the kernel of the generator's namespace counts what came back
//! for each real server's MAC, in nft rules at the interface's ingress. No reader can fall behind.

use crate::netns::Netns;
use crate::topology::real_mac;
use crate::wire::RawSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Frames sent in one go: small against every queue on the way.
const BURST: u32 = 20;

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
            let mut next = frames.iter().cycle();
            while !stopped.load(Ordering::Relaxed) {
                let due = (start.elapsed().as_secs_f64() * f64::from(rate)) as u64;
                let done = counter.load(Ordering::Relaxed);
                if done + u64::from(BURST) > due {
                    std::thread::sleep(Duration::from_micros(200));
                    continue;
                }
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

/// Counts frames that arrive in a namespace for the MACs of real servers, and drops them there.
#[derive(Debug)]
pub struct Arrivals<'a> {
    netns: &'a Netns,
    reals: u8,
}

impl<'a> Arrivals<'a> {
    /// Counts for real servers 1 to `reals` on `eth0` of `netns`.
    pub fn count(netns: &'a Netns, reals: u8) -> Arrivals<'a> {
        let mut script = String::from(
            "add table netdev arrivals; add chain netdev arrivals in { type filter hook ingress device eth0 priority -400; };",
        );
        for n in 1..=reals {
            let mac = real_mac(n);
            script.push_str(&format!("add counter netdev arrivals rs{n};"));
            script.push_str(&format!(
                "add rule netdev arrivals in ether daddr {mac} counter name rs{n} drop;"
            ));
        }
        netns.nft(&script);
        Arrivals { netns, reals }
    }

    /// Frames so far for real server `n`.
    ///
    /// # Panics
    /// When nft does not say.
    pub fn of(&self, n: u8) -> u64 {
        let text = self
            .netns
            .nft(&format!("list counter netdev arrivals rs{n}"));
        let mut words = text
            .split_whitespace()
            .skip_while(|word| *word != "packets");
        words
            .nth(1)
            .and_then(|word| word.parse().ok())
            .expect("a counter")
    }

    /// Frames so far for all of them.
    pub fn total(&self) -> u64 {
        (1..=self.reals).map(|n| self.of(n)).sum()
    }

    /// Waits until no more arrive, and returns the total.
    ///
    /// # Panics
    /// When they keep coming for 10 s.
    pub fn settled(&self) -> u64 {
        let (total, _) =
            crate::wait::wait_for("nothing arrives any more", Duration::from_secs(10), || {
                let before = self.total();
                // What lbd holds it sends within its ring's timeout, a few milliseconds.
                std::thread::sleep(Duration::from_millis(50));
                (self.total() == before).then_some(before)
            });
        total
    }
}
