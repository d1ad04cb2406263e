//! Thousands of connections at once, each with a fate of its own: ends and resets in every order,
//! drawn from a seed.

use crate::netns::NetnsHandle;
use crate::pattern::Pattern;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Barrier, Semaphore};

/// One connection must come to its end within this.
const PATIENCE: Duration = Duration::from_secs(60);

/// Connections being opened at the same time: no burst a listener's queue could not hold.
const OPENING: usize = 500;

/// What came of a storm.
#[derive(Clone, Debug, Default)]
pub struct Storm {
    /// Connections that met their fate as they should.
    pub done: u32,
    /// What went wrong with others, the first few of it.
    pub wrong: Vec<String>,
}

impl Storm {
    /// Adds another.
    pub fn add(&mut self, other: Storm) {
        self.done += other.done;
        self.wrong.extend(other.wrong);
    }
}

/// What a connection does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    /// Echoes, then the client closes.
    Echo,
    /// Echoes, the client ends its side, and reads the server's end.
    HalfClosed,
    /// A request; the server ends first.
    Request,
    /// The server resets.
    ServerResets,
    /// Echoes, then the client resets.
    ClientResets,
    /// The client closes without a word.
    Silent,
    /// The client resets without a word.
    SilentReset,
    /// The server ends first, the client goes on talking.
    ServerFirst,
    /// Bytes both ways at once, compared.
    Duplex,
}

const FATES: [Fate; 9] = [
    Fate::Echo,
    Fate::HalfClosed,
    Fate::Request,
    Fate::ServerResets,
    Fate::ClientResets,
    Fate::Silent,
    Fate::SilentReset,
    Fate::ServerFirst,
    Fate::Duplex,
];

/// Runs `count` connections to a `whoami` at `target`, `at_once` of them open before the first ends.
///
/// # Panics
/// When the client cannot be set up.
pub fn storm(
    netns: &NetnsHandle,
    target: SocketAddr,
    count: u32,
    at_once: u32,
    seed: u64,
) -> Storm {
    netns.run(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("tokio");
        runtime.block_on(run(target, count, at_once, seed))
    })
}

async fn run(target: SocketAddr, count: u32, at_once: u32, seed: u64) -> Storm {
    let pattern = Arc::new(Pattern::new());
    let opening = Arc::new(Semaphore::new(OPENING));
    let all_open = Arc::new(Barrier::new(at_once as usize));
    let mut tasks = Vec::new();
    let mut random = seed | 1;
    for _ in 0..count {
        // xorshift64 (Marsaglia, "Xorshift RNGs", 2003)
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let fate = FATES[(random >> 33) as usize % FATES.len()];
        let size = 1 + (random >> 40) % 200_000;
        let (pattern, opening) = (Arc::clone(&pattern), Arc::clone(&opening));
        let all_open = Arc::clone(&all_open);
        tasks.push(tokio::spawn(async move {
            let met = async {
                let permit = opening.acquire().await.map_err(io::Error::other)?;
                let stream = TcpStream::connect(target).await;
                drop(permit);
                all_open.wait().await;
                meet(fate, stream?, size, &pattern).await
            };
            let met = tokio::time::timeout(PATIENCE, met).await;
            let met = met.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
            met.map_err(|error| (fate, error.to_string()))
        }));
    }
    let mut storm = Storm::default();
    let mut wrong: BTreeMap<(Fate, String), u32> = BTreeMap::new();
    for task in tasks {
        match task.await.expect("no connection panics") {
            Ok(()) => storm.done += 1,
            Err(what) => *wrong.entry(what).or_default() += 1,
        }
    }
    let told = wrong.into_iter();
    storm.wrong = told
        .map(|((fate, error), count)| format!("{fate:?}: {error} ({count} times)"))
        .collect();
    storm
}

async fn meet(fate: Fate, mut stream: TcpStream, size: u64, pattern: &Pattern) -> io::Result<()> {
    stream.set_nodelay(true)?;
    match fate {
        Fate::Silent => Ok(()),
        Fate::SilentReset => stream.set_zero_linger(),
        Fate::Echo => echo(&mut stream, size, pattern).await,
        Fate::ClientResets => {
            echo(&mut stream, size, pattern).await?;
            stream.set_zero_linger()
        }
        Fate::HalfClosed => {
            echo(&mut stream, size, pattern).await?;
            stream.shutdown().await?;
            ends(&mut stream).await
        }
        Fate::Request => {
            stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await?;
            expect(answer.starts_with(b"HTTP/1.1 200"), "another answer")
        }
        Fate::ServerResets => {
            stream
                .write_all(format!("RESET {size}\n").as_bytes())
                .await?;
            let mut sink = Vec::new();
            match stream.read_to_end(&mut sink).await {
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(()),
                Err(error) => Err(error),
                Ok(_) => Err(io::Error::other("an end instead of a reset")),
            }
        }
        Fate::ServerFirst => {
            stream.write_all(b"FIRST\n").await?;
            let mut identity = Vec::new();
            stream.read_to_end(&mut identity).await?;
            stream.write_all(pattern.piece(0, size)).await?;
            stream.shutdown().await
        }
        Fate::Duplex => duplex(stream, size, pattern).await,
    }
}

async fn echo(stream: &mut TcpStream, size: u64, pattern: &Pattern) -> io::Result<()> {
    stream.write_all(b"ECHO\n").await?;
    while stream.read_u8().await? != b'\n' {}
    // Small enough for the buffers on the way: nobody reads while it is written.
    let piece = pattern.piece(0, 1 + size % 10_000);
    stream.write_all(piece).await?;
    let mut back = vec![0; piece.len()];
    stream.read_exact(&mut back).await?;
    expect(back == piece, "another echo")
}

async fn duplex(stream: TcpStream, size: u64, pattern: &Pattern) -> io::Result<()> {
    let (mut reader, mut writer) = stream.into_split();
    writer
        .write_all(format!("DUPLEX {size}\n").as_bytes())
        .await?;
    let sending = async {
        let mut at = 0;
        while at < size {
            let piece = pattern.piece(at, size - at);
            writer.write_all(piece).await?;
            at += piece.len() as u64;
        }
        writer.shutdown().await
    };
    let mut answer = Vec::new();
    tokio::try_join!(sending, reader.read_to_end(&mut answer))?;
    let verdict = format!("{size} same\n");
    let bytes = answer.strip_suffix(verdict.as_bytes());
    let same = bytes.is_some_and(|bytes| bytes.len() as u64 == size && pattern.is_at(0, bytes));
    expect(same, "other bytes")
}

async fn ends(stream: &mut TcpStream) -> io::Result<()> {
    match stream.read(&mut [0]).await? {
        0 => Ok(()),
        _ => Err(io::Error::other("bytes after the end")),
    }
}

fn expect(held: bool, what: &str) -> io::Result<()> {
    if held {
        Ok(())
    } else {
        Err(io::Error::other(what))
    }
}
