//! Clients that take up room: thousands of connections that say little or nothing.

use crate::netns::NetnsHandle;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};

/// Connections being opened at the same time: no burst a listener's queue could not hold.
const OPENING: usize = 200;

/// A trickling client sends a byte this often: quicker than any idle timeout that a test sets.
const TRICKLE: Duration = Duration::from_secs(3);

/// What each client of a crowd does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Habit {
    /// Connects, and says nothing.
    Silent,
    /// Asks for an echo, ends its side after a server that never does, and waits.
    HalfClosed,
    /// Asks for an echo, and sends a byte now and then.
    Trickle,
    /// Asks for very much, and never reads.
    NeverReads,
}

/// A crowd; it goes when this value does.
#[derive(Debug)]
pub struct Crowd {
    broken: Arc<AtomicUsize>,
    leave: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Crowd {
    /// `count` clients at `target`, all connected as far as their own kernel knows.
    ///
    /// # Panics
    /// When they are not within 30 s.
    pub fn gather(netns: &NetnsHandle, target: SocketAddr, habit: Habit, count: usize) -> Crowd {
        let (broken, there) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (leave, left) = watch::channel(false);
        let crowd_broken = Arc::clone(&broken);
        let connected = Arc::clone(&there);
        let thread = netns.spawn("crowd", move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("tokio");
            runtime.block_on(async move {
                let opening = Arc::new(Semaphore::new(OPENING));
                let mut tasks = Vec::with_capacity(count);
                for _ in 0..count {
                    let (opening, mut left) = (Arc::clone(&opening), left.clone());
                    let (there, broken) = (Arc::clone(&there), Arc::clone(&crowd_broken));
                    tasks.push(tokio::spawn(async move {
                        tokio::select! {
                            _ = one(target, habit, &opening, &there) => {
                                broken.fetch_add(1, Relaxed);
                            }
                            _ = left.changed() => {}
                        }
                    }));
                }
                for task in tasks {
                    let _ = task.await;
                }
            });
        });
        crate::wait_until("the crowd is there", Duration::from_secs(30), || {
            connected.load(Relaxed) + broken.load(Relaxed) >= count
        });
        Crowd {
            broken,
            leave,
            thread: Some(thread),
        }
    }

    /// Clients whose connection ended, or never came to be.
    pub fn broken(&self) -> usize {
        self.broken.load(Relaxed)
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        let _ = self.leave.send(true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// One client, until its connection ends.
async fn one(
    target: SocketAddr,
    habit: Habit,
    opening: &Semaphore,
    there: &AtomicUsize,
) -> io::Result<()> {
    let permit = opening.acquire().await.map_err(io::Error::other)?;
    let mut stream = TcpStream::connect(target).await?;
    drop(permit);
    there.fetch_add(1, Relaxed);
    match habit {
        Habit::Silent => until_ended(&stream).await,
        Habit::HalfClosed => {
            stream.write_all(b"STALL\n").await?;
            stream.shutdown().await?;
            until_ended(&stream).await
        }
        Habit::NeverReads => {
            stream.write_all(b"RESET 1000000000\n").await?;
            until_broken(&stream).await
        }
        Habit::Trickle => {
            stream.write_all(b"ECHO\n").await?;
            loop {
                tokio::time::sleep(TRICKLE).await;
                stream.write_all(b"x").await?;
            }
        }
    }
}

/// Reads what comes, until no more can.
async fn until_ended(stream: &TcpStream) -> io::Result<()> {
    let mut buffer = [0; 256];
    loop {
        stream.readable().await?;
        match stream.try_read(&mut buffer) {
            Ok(0) => return Ok(()),
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
            _ => {}
        }
    }
}

/// Never reads; notices a reset all the same.
async fn until_broken(stream: &TcpStream) -> io::Result<()> {
    loop {
        tokio::time::sleep(TRICKLE).await;
        if let Some(error) = stream.take_error()? {
            return Err(error);
        }
    }
}
