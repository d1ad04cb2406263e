//! `whoami`: a real server that says who it is and whom it sees.
//!
//! One port speaks TCP and UDP. A TCP client's first line says what it wants:
//!
//! | first line | answer |
//! |---|---|
//! | an HTTP request's | `200` with a body like [`identity`]'s; the connection closes. `X-Forwarded-For` comes back as a header |
//! | `ECHO` | one identity line, then every byte comes back |
//! | `SINK` | reads to the end, then one line: bytes read, and their hash ([`crate::fnv`]) |
//! | `DISCARD` | reads to the end, then one line: bytes read |
//! | `DUPLEX n` | `n` bytes of the [`crate::pattern`], while it compares what it reads with it; then one line: bytes read, and `same` or `other` |
//! | `RESET n` | `n` bytes of the pattern, then it resets the connection |
//! | `FIRST` | an identity line, then nothing more (FIN); reads to the end and counts |
//! | `STALL` | an identity line, then it never reads again |
//!
//! A datagram comes back with an identity line before it.

mod answer;

use crate::netns::NetnsHandle;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket, UdpSocket};
use tokio::sync::oneshot;

/// Connections waiting to be accepted: more than any test opens at once.
const BACKLOG: u32 = 4096;

/// What one server counts.
#[derive(Debug, Default)]
pub struct Counts {
    /// TCP connections accepted.
    pub connections: AtomicU64,
    /// UDP datagrams received.
    pub datagrams: AtomicU64,
    /// Connections that ended by a reset from the other side.
    pub resets: AtomicU64,
    /// Connections that are open.
    pub open: AtomicU64,
    /// Bytes read after `FIRST`.
    pub late_bytes: AtomicU64,
}

/// A real server on a thread of its own.
#[derive(Debug)]
pub struct RealServer {
    /// What it counts.
    pub counts: Arc<Counts>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What a server is called and where it listens.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What it says it is called.
    pub name: String,
    /// Port, for TCP on all addresses and UDP on `udp_addresses`.
    pub port: u16,
    /// UDP answers leave from the address asked, so each needs a socket.
    pub udp_addresses: Vec<IpAddr>,
}

impl RealServer {
    /// Starts one in `netns`; it listens when this returns.
    ///
    /// # Panics
    /// When it cannot listen.
    pub fn start(netns: NetnsHandle, settings: Settings) -> RealServer {
        let counts = Arc::new(Counts::default());
        let (stop, stopped) = oneshot::channel();
        let (listening, is_listening) = std::sync::mpsc::channel();
        let (name, thread_counts) = (settings.name.clone(), Arc::clone(&counts));
        let thread = netns.spawn(&name, move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("tokio");
            runtime.block_on(async {
                let sockets = Sockets::open(&settings).expect("the server's sockets");
                let _ = listening.send(());
                tokio::select! {
                    () = serve(sockets, settings.name.into(), thread_counts) => {}
                    _ = stopped => {}
                }
            });
        });
        is_listening
            .recv_timeout(Duration::from_secs(5))
            .expect("the server listens");
        RealServer {
            counts,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// TCP connections it has accepted.
    pub fn connections(&self) -> u64 {
        self.counts.connections.load(Ordering::Relaxed)
    }

    /// Datagrams it has received.
    pub fn datagrams(&self) -> u64 {
        self.counts.datagrams.load(Ordering::Relaxed)
    }

    /// Connections that ended by a reset from the other side.
    pub fn resets(&self) -> u64 {
        self.counts.resets.load(Ordering::Relaxed)
    }

    /// Connections that are open.
    pub fn open(&self) -> u64 {
        self.counts.open.load(Ordering::Relaxed)
    }

    /// Ends it: its sockets close, as those of a process that died.
    pub fn stop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for RealServer {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The sockets of one server.
struct Sockets {
    tcp: TcpListener,
    udp: Vec<UdpSocket>,
}

impl Sockets {
    fn open(settings: &Settings) -> std::io::Result<Sockets> {
        let socket = TcpSocket::new_v6()?;
        socket.set_reuseaddr(true)?;
        socket.bind(SocketAddr::new(
            "::".parse().expect("an address"),
            settings.port,
        ))?;
        let mut udp = Vec::new();
        for address in &settings.udp_addresses {
            let socket = std::net::UdpSocket::bind((*address, settings.port))?;
            socket.set_nonblocking(true)?;
            udp.push(UdpSocket::from_std(socket)?);
        }
        Ok(Sockets {
            tcp: socket.listen(BACKLOG)?,
            udp,
        })
    }
}

/// Serves for ever, by the rules of this module, in this thread: the program `whoami`.
///
/// # Errors
/// When it cannot listen.
pub fn serve_here(settings: Settings) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let sockets = Sockets::open(&settings)?;
        serve(sockets, settings.name.into(), Arc::default()).await;
        Ok(())
    })
}

async fn serve(sockets: Sockets, name: Arc<str>, counts: Arc<Counts>) {
    for socket in sockets.udp {
        tokio::spawn(answer_datagrams(
            socket,
            Arc::clone(&name),
            Arc::clone(&counts),
        ));
    }
    loop {
        // An error here is one connection's, or too many descriptors: the next may do.
        let Ok((stream, peer)) = sockets.tcp.accept().await else {
            continue;
        };
        counts.connections.fetch_add(1, Ordering::Relaxed);
        counts.open.fetch_add(1, Ordering::Relaxed);
        let (name, counts) = (Arc::clone(&name), Arc::clone(&counts));
        tokio::spawn(async move {
            let ended = answer::connection(stream, identity(&name, peer), &counts).await;
            if ended.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset) {
                counts.resets.fetch_add(1, Ordering::Relaxed);
            }
            counts.open.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

/// `rs1 192.0.2.100:40000`: who answers, and the peer it sees.
fn identity(name: &str, peer: SocketAddr) -> String {
    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
    format!("{name} {peer}\n")
}

async fn answer_datagrams(socket: UdpSocket, name: Arc<str>, counts: Arc<Counts>) {
    let mut buffer = vec![0; 65536];
    loop {
        let Ok((count, peer)) = socket.recv_from(&mut buffer).await else {
            continue;
        };
        counts.datagrams.fetch_add(1, Ordering::Relaxed);
        let mut answer = identity(&name, peer).into_bytes();
        answer.extend_from_slice(&buffer[..count]);
        let _ = socket.send_to(&answer, peer).await;
    }
}
