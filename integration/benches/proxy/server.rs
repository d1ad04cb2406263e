//! The real server: as little work per request as HTTP allows, so that the proxy is the limit.

use crate::network::{Network, REAL};
use socket2::SockRef;
use std::thread::JoinHandle;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::oneshot;

/// What asks for a stream that ends when the client goes.
pub const STREAM_REQUEST: &[u8] = b"GET /stream HTTP/1.1\r\n\r\n";

const KEPT: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello\n";
const CLOSED: &[u8] = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 6\r\n\r\nhello\n";

/// A stream is written in pieces of this size.
const CHUNK: usize = 256 << 10;

/// Connections waiting to be accepted: more than are ever opened at once.
const BACKLOG: u32 = 4_096;

/// A server on a thread of its own, until it is dropped.
pub struct Server {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Starts it; it listens when this returns.
///
/// # Panics
/// When it cannot listen.
pub fn start(net: &Network) -> Server {
    let (stop, stopped) = oneshot::channel();
    let (listening, is_listening) = std::sync::mpsc::channel();
    let thread = net.server.spawn("server", move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .expect("tokio");
        runtime.block_on(async {
            let listener = listen().expect("the server's address");
            let _ = listening.send(());
            tokio::select! {
                () = accept(listener) => {}
                _ = stopped => {}
            }
        });
    });
    is_listening.recv().expect("the server listens");
    Server {
        stop: Some(stop),
        thread: Some(thread),
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn listen() -> std::io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    SockRef::from(&socket).set_tcp_nodelay(true)?; // accepted sockets inherit it
    socket.bind(REAL.into())?;
    socket.listen(BACKLOG)
}

async fn accept(listener: TcpListener) {
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    }
}

/// Answers until the client goes. Our clients' requests come whole: each in one segment.
async fn serve(mut stream: TcpStream) -> std::io::Result<()> {
    let mut request = [0; 1024];
    loop {
        let n = stream.read(&mut request).await?;
        let request = &request[..n];
        if n == 0 {
            return Ok(());
        } else if request == STREAM_REQUEST {
            let chunk = vec![0x5a; CHUNK];
            loop {
                stream.write_all(&chunk).await?;
            }
        } else if contains(request, b"\r\nConnection: close") {
            return stream.write_all(CLOSED).await;
        }
        stream.write_all(KEPT).await?;
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}
