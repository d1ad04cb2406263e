//! Bare echoes in user space, each on the balancer's core, at the end of a wire.

use crate::af_xdp_echo;
use crate::bare::{Bare, Kind};
use crate::cores;
use crate::rate::Progress;
use crate::wire::{LB_MAC, Wire};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

const RING_MIB: usize = 64;

/// An echo that runs until this value goes.
pub struct Echo {
    progress: Arc<Progress>,
    thread: Option<JoinHandle<()>>,
}

impl Echo {
    /// TPACKET_V3 and sendmmsg past the queueing discipline.
    pub fn packet(wire: &Wire) -> Echo {
        let ifindex = wire.lb_index;
        let [a, b, c, d, e, f] = LB_MAC;
        // To real 0.
        let macs = [2, 0, 0, 1, 0, 0, a, b, c, d, e, f];
        let (ready, is_ready) = std::sync::mpsc::channel();
        let echo = Echo::start(wire, move |progress| {
            let kind = Kind::V3 {
                header: false,
                bypass: true,
            };
            let mut bare = Bare::open(kind, ifindex, RING_MIB, macs);
            let _ = ready.send(());
            bare.run(progress);
        });
        is_ready.recv().expect("the echo opens");
        echo
    }

    /// AF_XDP in copy mode, in the driver.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn af_xdp(wire: &Wire) -> anyhow::Result<Echo> {
        let mut echo = af_xdp_echo::Echo::open(wire)?;
        Ok(Echo::start(wire, move |progress| echo.run(progress)))
    }

    fn start(wire: &Wire, run: impl FnOnce(&Progress) + Send + 'static) -> Echo {
        let progress = Arc::new(Progress::default());
        let theirs = progress.clone();
        let thread = wire.lb.spawn("echo", move || {
            cores::pin(cores::BALANCER);
            run(&theirs);
        });
        Echo {
            progress,
            thread: Some(thread),
        }
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.progress.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            eprintln!("an echo had panicked");
        }
    }
}
