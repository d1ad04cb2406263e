//! `whoami`: a real server that says who it is and whom it sees.
//!
//! One port speaks TCP and UDP. A TCP client's first line says what it wants:
//!
//! | first line | answer |
//! |---|---|
//! | an HTTP request's | `200` with a body like [`identity`]'s; the connection closes. `X-Forwarded-For` comes back as a header |
//! | `ECHO` | one identity line, then every byte comes back |
//! | `SINK` | reads to the end, then one line: bytes read, and their hash ([`Fnv`]) |
//! | `DISCARD` | reads to the end, then one line: bytes read |
//!
//! A datagram comes back with an identity line before it.

use crate::netns::NetnsHandle;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};
use tokio::sync::oneshot;

/// Connections waiting to be accepted: more than any test opens at once.
const BACKLOG: u32 = 4096;

/// The longest first line we read.
const LINE_LIMIT: u64 = 4096;

/// What one server counts.
#[derive(Debug, Default)]
pub struct Counts {
    /// TCP connections accepted.
    pub connections: AtomicU64,
    /// UDP datagrams received.
    pub datagrams: AtomicU64,
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
        let name = Arc::clone(&name);
        tokio::spawn(async move {
            let _ = answer_connection(stream, peer, &name).await;
        });
    }
}

/// `rs1 192.0.2.100:40000`: who answers, and the peer it sees.
fn identity(name: &str, peer: SocketAddr) -> String {
    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
    format!("{name} {peer}\n")
}

async fn answer_connection(stream: TcpStream, peer: SocketAddr, name: &str) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    let mut first_line = String::new();
    (&mut stream)
        .take(LINE_LIMIT)
        .read_line(&mut first_line)
        .await?;
    match first_line.trim_end() {
        "ECHO" => {
            stream.write_all(identity(name, peer).as_bytes()).await?;
            let mut buffer = vec![0; 2048];
            loop {
                match stream.read(&mut buffer).await? {
                    0 => return Ok(()),
                    count => stream.write_all(&buffer[..count]).await?,
                }
            }
        }
        "SINK" => {
            let mut hash = Fnv::new();
            let total = read_to_end(&mut stream, |bytes| hash.update(bytes)).await?;
            stream
                .write_all(format!("{total} {:016x}\n", hash.finish()).as_bytes())
                .await
        }
        "DISCARD" => {
            let total = read_to_end(&mut stream, |_| {}).await?;
            stream.write_all(format!("{total}\n").as_bytes()).await
        }
        line if line.contains(" HTTP/1.") => {
            let mut header = String::new();
            let mut forwarded = String::new();
            while (&mut stream)
                .take(LINE_LIMIT)
                .read_line(&mut header)
                .await?
                > 2
            {
                if header.to_ascii_lowercase().starts_with("x-forwarded-for:") {
                    forwarded.push_str(&header);
                }
                header.clear();
            }
            let body = identity(name, peer);
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n";
            let length = body.len();
            let answer = format!("{head}{forwarded}Content-Length: {length}\r\n\r\n{body}");
            stream.write_all(answer.as_bytes()).await?;
            stream.shutdown().await
        }
        // A check's connection that only opens and closes, or something we do not speak.
        _ => Ok(()),
    }
}

/// Reads to the end, shows every piece, and returns how many bytes there were.
async fn read_to_end(
    stream: &mut BufReader<TcpStream>,
    mut show: impl FnMut(&[u8]),
) -> std::io::Result<u64> {
    let mut total = 0;
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match stream.read(&mut buffer).await? {
            0 => return Ok(total),
            count => {
                total += count as u64;
                show(&buffer[..count]);
            }
        }
    }
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

/// FNV-1a over eight bytes at a time: quick enough not to be what a bulk test measures.
#[derive(Debug)]
pub struct Fnv {
    hash: u64,
    rest: Vec<u8>,
}

impl Fnv {
    /// The hash of nothing.
    pub fn new() -> Fnv {
        Fnv {
            hash: 0xcbf2_9ce4_8422_2325,
            rest: Vec::with_capacity(8),
        }
    }

    /// Adds bytes; how they are cut into calls makes no difference.
    pub fn update(&mut self, mut bytes: &[u8]) {
        while !self.rest.is_empty() && !bytes.is_empty() {
            self.rest.push(bytes[0]);
            bytes = &bytes[1..];
            if self.rest.len() == 8 {
                let word = std::mem::take(&mut self.rest);
                self.step(&word);
            }
        }
        let mut words = bytes.chunks_exact(8);
        for word in &mut words {
            self.step(word);
        }
        self.rest.extend_from_slice(words.remainder());
    }

    /// The hash of all so far.
    pub fn finish(mut self) -> u64 {
        let mut rest = std::mem::take(&mut self.rest);
        rest.resize(8, 0xff);
        self.step(&rest);
        self.hash
    }

    fn step(&mut self, word: &[u8]) {
        let word = word.try_into().map_or(0, u64::from_be_bytes);
        self.hash = (self.hash ^ word).wrapping_mul(0x0000_0100_0000_01b3);
    }
}

impl Default for Fnv {
    fn default() -> Fnv {
        Fnv::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_does_not_see_how_bytes_are_cut() {
        let bytes: Vec<u8> = (0..=255).collect();
        let mut whole = Fnv::new();
        whole.update(&bytes);
        let mut cut = Fnv::new();
        for piece in bytes.chunks(3) {
            cut.update(piece);
        }
        assert_eq!(whole.finish(), cut.finish());
        let mut other = Fnv::new();
        other.update(&bytes[1..]);
        let mut whole = Fnv::new();
        whole.update(&bytes);
        assert_ne!(whole.finish(), other.finish());
    }
}
