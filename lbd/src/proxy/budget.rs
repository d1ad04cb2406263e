//! How many descriptors the proxy may hold: what the process may have open, less a reserve, so that
//! health checks, the control socket and the metrics page never starve.

use crate::sys::rlimit;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Kept back from the proxy, at most: 128 clients of the control socket, as many of the metrics
/// page, packet rings and logs, and probes in flight.
const RESERVE: usize = 512;

/// The most memory pipes may pin, over all workers, in pages of 4 KiB. The kernel lets one user have
/// 16,384 (`pipe-user-pages-soft`) and gives whoever asks for more a pipe of two pages: half is left
/// to others.
const PIPE_PAGES: usize = 8192;

/// The proxy's share of the process's descriptors and of the user's pipe pages. Shared by all
/// workers.
#[derive(Debug)]
pub struct Budget {
    descriptors: Account,
    pipe_pages: Account,
}

impl Budget {
    /// Raises the soft limit to the hard one and takes all but the reserve of it.
    ///
    /// # Errors
    /// When the limit cannot be read.
    pub fn of_process() -> io::Result<Self> {
        let limit = usize::try_from(rlimit::raise_open_files()?).unwrap_or(usize::MAX);
        Ok(Budget::new(limit.saturating_sub(RESERVE.min(limit / 4))))
    }

    /// Of `descriptors`.
    pub fn new(descriptors: usize) -> Self {
        Budget {
            descriptors: Account::new(descriptors),
            pipe_pages: Account::new(PIPE_PAGES),
        }
    }

    /// Descriptors.
    pub fn descriptors(&self) -> &Account {
        &self.descriptors
    }

    /// Pages of pipes.
    pub(super) fn pipe_pages(&self) -> &Account {
        &self.pipe_pages
    }
}

/// A bounded number of things.
#[derive(Debug)]
pub struct Account {
    limit: usize,
    taken: AtomicUsize,
}

impl Account {
    fn new(limit: usize) -> Self {
        Account {
            limit,
            taken: AtomicUsize::new(0),
        }
    }

    /// How many there are in all.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Takes `n`, or nothing and says so.
    pub fn take(&self, n: usize) -> bool {
        let fits = |taken: usize| taken.checked_add(n).filter(|sum| *sum <= self.limit);
        self.taken.fetch_update(Relaxed, Relaxed, fits).is_ok()
    }

    /// Gives `n` back.
    pub fn give(&self, n: usize) {
        let before = self.taken.fetch_sub(n, Relaxed);
        debug_assert!(before >= n, "only what was taken comes back");
    }

    /// How many are taken.
    pub fn taken(&self) -> usize {
        self.taken.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_all_or_nothing_and_gets_it_back() {
        let budget = Budget::new(5);
        let account = budget.descriptors();
        assert!(account.take(3));
        assert!(!account.take(3));
        assert!(account.take(2));
        assert!(!account.take(1));
        account.give(2);
        assert_eq!(account.taken(), 3);
        assert!(account.take(1));
    }

    #[test]
    fn threads_never_take_more_than_there_is() {
        let budget = Budget::new(100);
        let took: usize = std::thread::scope(|scope| {
            let take = || (0..1000).filter(|_| budget.descriptors().take(1)).count();
            let threads = [scope.spawn(take), scope.spawn(take)];
            threads.map(|t| t.join().expect("no panic")).iter().sum()
        });
        assert_eq!(took, 100);
    }
}
