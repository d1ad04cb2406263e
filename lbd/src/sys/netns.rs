//! Network namespaces for tests: one lives as long as a thread, has no name, and so leaves
//! nothing behind.

use std::process::Command;
use std::sync::mpsc;
use std::thread;

type Job = Box<dyn FnOnce() + Send>;

/// A fresh network namespace; what is given to [`Netns::run`] happens inside.
pub(crate) struct Netns {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<thread::JoinHandle<()>>,
    path: String,
}

impl Netns {
    /// A namespace with `lo` up; `None`, with the reason printed, where it is not permitted.
    pub(crate) fn new() -> Option<Self> {
        let (jobs, todo) = mpsc::channel::<Job>();
        let (ready, made) = mpsc::channel();
        let thread = thread::spawn(move || {
            // SAFETY: unshare takes no pointers; only this thread changes its namespace.
            let unshared = super::check(unsafe { libc::unshare(libc::CLONE_NEWNET) });
            // SAFETY: gettid cannot fail and touches no memory.
            let tid = unsafe { libc::gettid() };
            let path = format!("/proc/{}/task/{tid}/ns/net", std::process::id());
            let failed = unshared.is_err();
            ready.send(unshared.map(|_| path)).ok();
            if !failed {
                todo.iter().for_each(|job| job());
            }
        });
        match made.recv().expect("the thread reports") {
            Ok(path) => {
                let netns = Netns {
                    jobs: Some(jobs),
                    thread: Some(thread),
                    path,
                };
                netns.ip("link set lo up");
                Some(netns)
            }
            Err(error) => {
                println!(
                    "skipped: no network namespace ({error}); run as root or in `unshare -Urn`"
                );
                None
            }
        }
    }

    /// Its path, as `ip link set DEV netns PATH` takes it.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// Runs `job` inside and gives back what it returns; a panic goes on in the caller.
    pub(crate) fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (done, result) = mpsc::channel();
        let job = Box::new(move || {
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(job));
            done.send(outcome).ok();
        });
        self.jobs
            .as_ref()
            .expect("open until dropped")
            .send(job)
            .expect("the thread lives");
        match result.recv().expect("the job reports") {
            Ok(value) => value,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    /// Runs a future inside, on a runtime of its own.
    pub(crate) fn block_on<F>(&self, make: impl FnOnce() -> F + Send + 'static) -> F::Output
    where
        F: Future,
        F::Output: Send + 'static,
    {
        self.run(|| {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime")
                .block_on(make())
        })
    }

    /// `ip ARGS` inside; panics with its words if it fails.
    pub(crate) fn ip(&self, args: &str) {
        let args = args.to_owned();
        self.run(move || ip(&args));
    }
}

/// `ip ARGS` in the calling thread's namespace; panics with its words if it fails.
pub(crate) fn ip(args: &str) {
    let output = Command::new("ip")
        .args(args.split(' '))
        .output()
        .expect("iproute2 is installed");
    assert!(
        output.status.success(),
        "ip {args}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

impl Drop for Netns {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}
