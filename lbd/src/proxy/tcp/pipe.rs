//! Pipes that bytes are spliced through: from a socket into the pipe and out to another, without a
//! copy through user space. Made when a direction needs one, kept for the next, bounded in number.

use crate::proxy::budget::Budget;
use lbcore::time::Tick;
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;

/// The size asked for: one system call then moves up to a megabyte.
const WANTED: usize = 1 << 20;

/// A smaller pipe moves no more in a call than a copy does: not worth having.
const SMALLEST: usize = 128 << 10;

/// Pipes a worker keeps for the next who needs one.
const SPARE: usize = 8;

/// After a refusal nobody asks the kernel again for this long, in milliseconds.
const PATIENCE_MS: u64 = 1000;

const PAGE: usize = 4096;

/// A pipe and what is in it. Gives back to the budget what it took when dropped.
#[derive(Debug)]
pub struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
    held: usize,
    capacity: usize,
    budget: Arc<Budget>,
}

/// What came of moving bytes into or out of a pipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moved {
    /// So many bytes.
    Bytes(usize),
    /// The source is at its end.
    End,
    /// Not now: the source is empty, the destination full, or the pipe has no slot left.
    NotNow,
}

impl Pipe {
    fn open(budget: &Arc<Budget>) -> Option<Self> {
        if !budget.descriptors().take(2) {
            return None;
        }
        let Ok((read, write)) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK) else {
            budget.descriptors().give(2);
            return None;
        };
        let mut pipe = Pipe {
            read,
            write,
            held: 0,
            capacity: 0,
            budget: budget.clone(),
        };
        pipe.grow().then_some(pipe)
    }

    /// The greatest size that budget and kernel allow (EPERM above the user's `pipe-user-pages`
    /// or `pipe-max-size`).
    fn grow(&mut self) -> bool {
        let mut size = WANTED;
        while size >= SMALLEST {
            if self.budget.pipe_pages().take(size / PAGE) {
                self.capacity = size;
                if fcntl_setpipe_size(&self.write, size).is_ok_and(|got| got >= size) {
                    return true;
                }
                self.budget.pipe_pages().give(size / PAGE);
                self.capacity = 0;
            }
            size /= 2;
        }
        false
    }

    /// Bytes in it.
    pub fn held(&self) -> usize {
        self.held
    }

    /// Whether it has taken all it can by its size; by slots it may be full earlier.
    pub fn is_full(&self) -> bool {
        self.held >= self.capacity
    }

    /// Takes what fits from `source`.
    pub fn fill(&mut self, source: BorrowedFd<'_>) -> Result<Moved, Errno> {
        let room = self.capacity - self.held;
        let moved = moved(splice(source, None, &self.write, None, room, flags()))?;
        if let Moved::Bytes(n) = moved {
            self.held += n;
        }
        Ok(moved)
    }

    /// Gives what it holds to `destination`.
    pub fn drain(&mut self, destination: BorrowedFd<'_>) -> Result<Moved, Errno> {
        let all = self.held;
        let moved = moved(splice(&self.read, None, destination, None, all, flags()))?;
        if let Moved::Bytes(n) = moved {
            self.held -= n;
        }
        Ok(moved)
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.budget.descriptors().give(2);
        self.budget.pipe_pages().give(self.capacity / PAGE);
    }
}

fn flags() -> SpliceFlags {
    SpliceFlags::MOVE | SpliceFlags::NONBLOCK
}

fn moved(result: Result<usize, Errno>) -> Result<Moved, Errno> {
    match result {
        Ok(0) => Ok(Moved::End),
        Ok(n) => Ok(Moved::Bytes(n)),
        Err(Errno::AGAIN) => Ok(Moved::NotNow),
        Err(error) => Err(error),
    }
}

/// A worker's pipes.
#[derive(Debug)]
pub struct Pipes {
    budget: Arc<Budget>,
    spare: Vec<Pipe>,
    refused: Option<Tick>,
}

impl Pipes {
    /// None yet.
    pub fn new(budget: Arc<Budget>) -> Self {
        Pipes {
            budget,
            spare: Vec::new(),
            refused: None,
        }
    }

    /// An empty pipe, if one can be had.
    pub fn take(&mut self, now: Tick) -> Option<Pipe> {
        if let Some(pipe) = self.spare.pop() {
            return Some(pipe);
        }
        if self.refused.is_some_and(|at| now.since(at) < PATIENCE_MS) {
            return None;
        }
        let pipe = Pipe::open(&self.budget);
        self.refused = pipe.is_none().then_some(now);
        pipe
    }

    /// Takes a pipe back. One with bytes in it is closed: they belong to nobody any more.
    pub fn give(&mut self, pipe: Pipe) {
        if pipe.held == 0 && self.spare.len() < SPARE {
            self.spare.push(pipe);
        }
    }

    /// Closes the pipes nobody uses.
    pub fn close_spare(&mut self) {
        self.spare.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    fn pair() -> (UnixStream, UnixStream) {
        let (a, b) = UnixStream::pair().expect("a pair");
        a.set_nonblocking(true).expect("set");
        b.set_nonblocking(true).expect("set");
        (a, b)
    }

    #[test]
    fn what_goes_in_comes_out() {
        let budget = Arc::new(Budget::new(64));
        let mut pipes = Pipes::new(budget.clone());
        let mut pipe = pipes.take(Tick(0)).expect("a pipe");
        assert!(pipe.capacity >= SMALLEST);
        let ((mut a, from), (to, mut b)) = (pair(), pair());
        assert_eq!(pipe.fill(from.as_fd()), Ok(Moved::NotNow));
        a.write_all(b"hello").expect("sent");
        assert_eq!(pipe.fill(from.as_fd()), Ok(Moved::Bytes(5)));
        drop(a);
        assert_eq!(pipe.fill(from.as_fd()), Ok(Moved::End));
        assert_eq!(pipe.held(), 5);
        assert_eq!(pipe.drain(to.as_fd()), Ok(Moved::Bytes(5)));
        let mut told = [0; 5];
        b.read_exact(&mut told).expect("received");
        assert_eq!(&told, b"hello");
    }

    #[test]
    fn an_empty_pipe_is_kept_and_one_with_bytes_in_it_is_not() {
        let budget = Arc::new(Budget::new(64));
        let mut pipes = Pipes::new(budget.clone());
        let (mut a, from) = pair();
        let mut pipe = pipes.take(Tick(0)).expect("a pipe");
        a.write_all(b"secret").expect("sent");
        pipe.fill(from.as_fd()).expect("filled");
        pipes.give(pipe);
        assert_eq!(budget.descriptors().taken(), 0);
        let pipe = pipes.take(Tick(0)).expect("a pipe");
        pipes.give(pipe);
        assert_eq!(budget.descriptors().taken(), 2);
        pipes.close_spare();
        assert_eq!(budget.descriptors().taken(), 0);
        assert_eq!(budget.pipe_pages().taken(), 0);
    }

    #[test]
    fn nobody_gets_a_pipe_beyond_the_budget() {
        let budget = Arc::new(Budget::new(5));
        let mut pipes = Pipes::new(budget.clone());
        let first = pipes.take(Tick(0)).expect("a pipe");
        let _second = pipes.take(Tick(0)).expect("a pipe");
        assert!(pipes.take(Tick(0)).is_none());
        pipes.give(first);
        assert!(pipes.take(Tick(1)).is_some(), "the spare one");
    }
}
