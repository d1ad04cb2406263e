//! Thousands of flows that live through what a test does to lbd, and remember what they saw.

use crate::client::{Identity, any};
use crate::netns::NetnsHandle;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::{Semaphore, watch};

/// A TCP flow without an echo for this long is broken (the catalogue's figure).
const TCP_PATIENCE: Duration = Duration::from_secs(10);

/// A datagram without an echo for this long is lost; the flow goes on.
const UDP_PATIENCE: Duration = Duration::from_secs(1);

/// Flows being opened at the same time: no burst a listener's queue could not hold.
const OPENING: usize = 100;

/// One flow, as it stands.
#[derive(Clone, Debug)]
pub struct Flow {
    /// Its own address.
    pub local: SocketAddr,
    /// The server that answered last.
    pub server: String,
    /// Echoes seen.
    pub echoes: u64,
    /// Echoes missed (UDP only: a TCP flow that misses one is broken).
    pub lost: u64,
    /// The longest time between sending and the echo.
    pub longest_stall: Duration,
    /// Answers that came from another server than the one before.
    pub moves: u64,
    /// When it broke, and why.
    pub broken: Option<(Instant, String)>,
}

/// Many flows, each echoing in its own rhythm, on a thread of their own.
#[derive(Debug)]
pub struct LongFlows {
    flows: Arc<Mutex<Vec<Flow>>>,
    failed: Arc<Mutex<Vec<String>>>,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

/// Which transport flows use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// `ECHO` connections.
    Tcp,
    /// Datagrams.
    Udp,
}

impl LongFlows {
    /// Opens `count` flows from `netns` to `target`, each echoing every `period`, and returns when
    /// all are open (or failed to be: see [`LongFlows::assert_opened`]).
    ///
    /// # Panics
    /// When they are not within 20 s.
    pub fn start(
        netns: NetnsHandle,
        transport: Transport,
        target: SocketAddr,
        count: usize,
        period: Duration,
    ) -> LongFlows {
        let flows = Arc::new(Mutex::new(Vec::with_capacity(count)));
        let failed = Arc::new(Mutex::new(Vec::new()));
        let (stop, stopped) = watch::channel(false);
        let (shared, failures) = (Arc::clone(&flows), Arc::clone(&failed));
        let thread = netns.spawn("flows", move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("tokio");
            runtime.block_on(async move {
                let opening = Arc::new(Semaphore::new(OPENING));
                let mut tasks = Vec::with_capacity(count);
                for index in 0..count {
                    let (shared, failures) = (Arc::clone(&shared), Arc::clone(&failures));
                    let (opening, mut stopped) = (Arc::clone(&opening), stopped.clone());
                    // Flows echo evenly spread over the period.
                    let phase = period.mul_f64(index as f64 / count as f64);
                    tasks.push(tokio::spawn(async move {
                        let run = run_flow(transport, target, opening, shared, phase, period);
                        tokio::select! {
                            result = run => if let Err(error) = result {
                                lock(&failures).push(error.to_string());
                            },
                            _ = stopped.changed() => {}
                        }
                    }));
                }
                for task in tasks {
                    let _ = task.await;
                }
            });
        });
        let these = LongFlows {
            flows,
            failed,
            stop,
            thread: Some(thread),
        };
        crate::wait_until("all flows are open", Duration::from_secs(20), || {
            lock(&these.flows).len() + lock(&these.failed).len() == count
        });
        these
    }

    /// Asserts that every flow could be opened.
    ///
    /// # Panics
    /// When one could not.
    pub fn assert_opened(self) -> LongFlows {
        let failed = lock(&self.failed).clone();
        assert!(
            failed.is_empty(),
            "{} flows did not open: {:?}",
            failed.len(),
            failed.first()
        );
        self
    }

    /// All flows as they stand.
    pub fn snapshot(&self) -> Vec<Flow> {
        lock(&self.flows).clone()
    }

    /// Flows by the server that answered last, broken ones left out.
    pub fn by_server(&self) -> BTreeMap<String, usize> {
        let mut servers = BTreeMap::new();
        for flow in lock(&self.flows)
            .iter()
            .filter(|flow| flow.broken.is_none())
        {
            *servers.entry(flow.server.clone()).or_default() += 1;
        }
        servers
    }

    /// Flows that broke.
    pub fn broken(&self) -> usize {
        lock(&self.flows)
            .iter()
            .filter(|flow| flow.broken.is_some())
            .count()
    }

    /// Waits until every flow that is not broken has echoed again since now.
    ///
    /// # Panics
    /// When one has not within the flows' own patience.
    pub fn wait_for_echoes(&self) {
        let before: Vec<u64> = lock(&self.flows).iter().map(|flow| flow.echoes).collect();
        crate::wait_until("every flow echoed again", TCP_PATIENCE * 2, || {
            let flows = lock(&self.flows);
            // Two more: one may have been on its way already.
            flows.iter().zip(&before).all(|(flow, before)| {
                flow.broken.is_some() || flow.echoes + flow.lost >= before + 2
            })
        });
    }

    /// Ends all flows and returns them.
    pub fn finish(mut self) -> Vec<Flow> {
        self.end();
        lock(&self.flows).clone()
    }

    fn end(&mut self) {
        let _ = self.stop.send(true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for LongFlows {
    fn drop(&mut self) {
        self.end();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One flow until it breaks. An error says that it did not even open.
async fn run_flow(
    transport: Transport,
    target: SocketAddr,
    opening: Arc<Semaphore>,
    flows: Arc<Mutex<Vec<Flow>>>,
    phase: Duration,
    period: Duration,
) -> io::Result<()> {
    let permit = opening.acquire().await.map_err(io::Error::other)?;
    let opened = tokio::time::timeout(TCP_PATIENCE, Echo::open(transport, target)).await;
    let (mut echo, identity) = opened.map_err(io::Error::other)??;
    drop(permit);
    let index = {
        let mut flows = lock(&flows);
        flows.push(Flow {
            local: identity.peer,
            server: identity.server,
            echoes: 0,
            lost: 0,
            longest_stall: Duration::ZERO,
            moves: 0,
            broken: None,
        });
        flows.len() - 1
    };
    tokio::time::sleep(phase).await;
    let mut ticks = tokio::time::interval(period);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    for sequence in 0u64.. {
        ticks.tick().await;
        let sent = Instant::now();
        let answer = echo.round(sequence).await;
        let flow = &mut lock(&flows)[index];
        match answer {
            Ok(server) => {
                flow.echoes += 1;
                flow.longest_stall = flow.longest_stall.max(sent.elapsed());
                if let Some(server) = server.filter(|server| *server != flow.server) {
                    flow.server = server;
                    flow.moves += 1;
                }
            }
            Err(_) if transport == Transport::Udp => flow.lost += 1,
            Err(error) => {
                flow.broken = Some((Instant::now(), error.to_string()));
                return Ok(());
            }
        }
    }
    Ok(())
}

/// The client's end of one flow.
enum Echo {
    Tcp(BufReader<TcpStream>),
    Udp(UdpSocket),
}

impl Echo {
    async fn open(transport: Transport, target: SocketAddr) -> io::Result<(Echo, Identity)> {
        let unknown = || io::Error::other("an answer that names no server");
        match transport {
            Transport::Tcp => {
                let mut stream = BufReader::new(TcpStream::connect(target).await?);
                stream.get_ref().set_nodelay(true)?;
                stream.write_all(b"ECHO\n").await?;
                let mut line = String::new();
                stream.read_line(&mut line).await?;
                let identity = Identity::parse(&line).ok_or_else(unknown)?;
                Ok((Echo::Tcp(stream), identity))
            }
            Transport::Udp => {
                let socket = UdpSocket::bind((any(target.ip()), 0)).await?;
                socket.connect(target).await?;
                // A flow that does not open is not asked again.
                let line = udp_round(&socket, u64::MAX, TCP_PATIENCE).await?;
                let identity = Identity::parse(&line).ok_or_else(unknown)?;
                Ok((Echo::Udp(socket), identity))
            }
        }
    }

    /// One number there and back; UDP answers name their server each time.
    async fn round(&mut self, sequence: u64) -> io::Result<Option<String>> {
        match self {
            Echo::Tcp(stream) => {
                let exchange = async {
                    stream.write_all(&sequence.to_be_bytes()).await?;
                    let mut answer = [0; 8];
                    stream.read_exact(&mut answer).await?;
                    Ok::<_, io::Error>(u64::from_be_bytes(answer))
                };
                let answer = tokio::time::timeout(TCP_PATIENCE, exchange).await;
                match answer.map_err(|_| io::Error::other("no echo in time"))?? {
                    answer if answer == sequence => Ok(None),
                    answer => Err(io::Error::other(format!("{answer} came for {sequence}"))),
                }
            }
            Echo::Udp(socket) => {
                let line = udp_round(socket, sequence, UDP_PATIENCE).await?;
                Ok(line.split(' ').next().map(str::to_owned))
            }
        }
    }
}

/// Sends a number and returns the identity line before its echo.
async fn udp_round(socket: &UdpSocket, sequence: u64, patience: Duration) -> io::Result<String> {
    let exchange = async {
        socket.send(&sequence.to_be_bytes()).await?;
        loop {
            let mut buffer = [0; 256];
            let count = socket.recv(&mut buffer).await?;
            // An echo that comes late belongs to a round given up.
            if let Some((line, echo)) = split_line(&buffer[..count])
                && echo == sequence.to_be_bytes()
            {
                return Ok(line);
            }
        }
    };
    tokio::time::timeout(patience, exchange)
        .await
        .map_err(io::Error::other)?
}

fn split_line(answer: &[u8]) -> Option<(String, &[u8])> {
    let end = answer.iter().position(|byte| *byte == b'\n')?;
    Some((
        String::from_utf8_lossy(&answer[..end]).into_owned(),
        &answer[end + 1..],
    ))
}
