//! The control socket: HTTP/1.1 on a unix socket, one request a connection.

use super::events::Lasts;
use super::handler::answer;
use super::{Access, Ask, Peer};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use lbcore::api::{ApiError, Envelope, ErrorBody, ErrorCode};
use socket2::{Domain, SockAddr, Socket, Type};
use std::convert::Infallible;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tracing::{debug, warn};

/// Connections served at once; the next ones are told that lbd is busy. Far more than operators
/// and their scripts need, and 64 times all buffers together stay below 8 MiB.
pub const MAX_CONNECTIONS: usize = 64;

/// The largest request line with headers, and the smallest buffer hyper agrees to.
const MAX_HEADERS: usize = 8 * 1024;

/// A client that has connected says what it wants within this time.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// From connecting to the last byte of the answer: a peer that does not read ends here. Who
/// follows events stays until nothing more comes for him.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(60);

/// Connections the kernel keeps for us between two accepts.
const BACKLOG: i32 = 128;

/// After a failed accept (out of descriptors), this long until the next: it would fail again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why there is no control socket.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another lbd answers there.
    #[error(
        "another lbd answers on {0}: stop it first (systemctl stop lbd), or give this one its own run_dir"
    )]
    InUse(PathBuf),
    /// Something else is there.
    #[error("{0} is there, but is no socket: move it away")]
    NotASocket(PathBuf),
    /// The host refuses.
    #[error("cannot make the control socket {path}: {source}")]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The bound control socket. Its file goes away with it, unless another lbd has replaced it.
#[derive(Debug)]
pub struct Server {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode of our socket file.
    identity: (u64, u64),
}

impl Server {
    /// Binds `path` for whom `access` lets in. The socket of a dead lbd is replaced; a living one
    /// keeps it.
    ///
    /// The socket is made beside its path and moved there when nobody but the owner and the
    /// group can connect any more: there is no moment with other permissions, and none without
    /// a socket.
    ///
    /// # Errors
    /// Somebody answers there, something else is there, or the directory cannot be written.
    pub fn bind(path: &Path, access: &Access) -> Result<Self, BindError> {
        let failed = |source| BindError::Io {
            path: path.into(),
            source,
        };
        match fs::symlink_metadata(path) {
            Ok(there) if !there.file_type().is_socket() => {
                return Err(BindError::NotASocket(path.into()));
            }
            Ok(_) if somebody_answers(path).map_err(failed)? => {
                return Err(BindError::InUse(path.into()));
            }
            Ok(_) => debug!("replacing the control socket of an lbd that is gone"),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(failed(e)),
        }
        let fresh = path.with_extension(format!("sock.{}", std::process::id()));
        let made = listen(&fresh, access).and_then(|made| {
            fs::rename(&fresh, path)?;
            Ok(made)
        });
        let (listener, identity) = made.map_err(|e| {
            // It may not have been made at all.
            let _ = fs::remove_file(&fresh);
            failed(e)
        })?;
        Ok(Server {
            listener,
            path: path.into(),
            identity,
        })
    }

    /// Serves until the daemon's end of `asks` is gone. `access` may change while it runs.
    pub async fn run(self, mut access: watch::Receiver<Arc<Access>>, asks: mpsc::Sender<Ask>) {
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                Ok(()) = access.changed() => {
                    self.follow(&access.borrow_and_update().clone());
                    continue;
                }
                () = asks.closed() => return,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    warn!(%error, "control: a connection cannot be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let peer = match Peer::of(&stream) {
                Ok(peer) => peer,
                Err(error) => {
                    warn!(%error, "control: the kernel does not say who connects: refused");
                    continue;
                }
            };
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                turn_away(&stream);
                continue;
            };
            let access = Arc::clone(&access.borrow());
            let asks = asks.clone();
            tokio::spawn(async move {
                serve(stream, peer, access, asks).await;
                drop(place);
            });
        }
    }
}

impl Server {
    fn is_ours(&self) -> bool {
        let ours = |there: fs::Metadata| (there.dev(), there.ino()) == self.identity;
        fs::symlink_metadata(&self.path).is_ok_and(ours)
    }

    fn follow(&self, access: &Access) {
        if self.is_ours()
            && let Err(error) = open_to(&self.path, access)
        {
            warn!(%error, "control: the socket keeps its group and mode");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.is_ours() {
            // If it stays, the next lbd finds that nobody answers there and replaces it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn somebody_answers(path: &Path) -> io::Result<bool> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    match socket.connect(&SockAddr::unix(path)?) {
        Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => Ok(false),
        // A full backlog (EAGAIN) belongs to somebody, too.
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(true),
        Err(e) => Err(e),
    }
}

fn listen(path: &Path, access: &Access) -> io::Result<(UnixListener, (u64, u64))> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::unix(path)?)?;
    open_to(path, access)?;
    socket.listen(BACKLOG)?;
    let there = fs::symlink_metadata(path)?;
    let listener = UnixListener::from_std(std::os::unix::net::UnixListener::from(socket))?;
    Ok((listener, (there.dev(), there.ino())))
}

/// Gives the socket the administrators' group and mode 0660. With a group of readers the mode is 0666,
/// for a file has one group alone; who connects is asked in any case.
fn open_to(path: &Path, access: &Access) -> io::Result<()> {
    let group = fs::symlink_metadata(path)?.gid();
    if let Some(gid) = access.admin_gid().filter(|gid| *gid != group)
        && let Err(error) = chown(path, None, Some(gid))
    {
        warn!(
            %error,
            gid,
            "control: the socket cannot be given to admin_group: its members are let in where lbd \
             is a member, too (SupplementaryGroups= in the unit)"
        );
    }
    let mode = if access.has_readers() { 0o666 } else { 0o660 };
    fs::set_permissions(path, Permissions::from_mode(mode))
}

/// Tells one too many that lbd is busy. The answer fits any socket buffer; where it does not, the
/// connection just ends.
fn turn_away(stream: &UnixStream) {
    let error = ApiError::new(
        ErrorCode::Unavailable,
        format!("lbd is busy: {MAX_CONNECTIONS} control connections are open"),
    )
    .hint("try again shortly");
    let body = serde_json::to_string(&Envelope::new(ErrorBody { error })).unwrap_or_default();
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\n\
         connection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let _ = stream.try_write(answer.as_bytes());
}

/// One connection, one request.
pub(super) async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    peer: Peer,
    access: Arc<Access>,
    asks: mpsc::Sender<Ask>,
) {
    let lasts: OnceLock<Lasts> = OnceLock::new();
    let service = service_fn(|request| {
        let (peer, access, asks, lasts) = (&peer, &access, &asks, &lasts);
        async move {
            let response = answer(request, peer, access, asks).await;
            if let Some(until) = response.extensions().get::<Lasts>() {
                lasts.get_or_init(|| until.clone());
            }
            Ok::<_, Infallible>(response)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_header_size(MAX_HEADERS)
        .max_buf_size(MAX_HEADERS)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    let too_long = async {
        tokio::time::sleep(CONNECTION_TIMEOUT).await;
        if let Some(lasts) = lasts.get() {
            lasts.clone().over().await;
        }
    };
    tokio::select! {
        ended = connection => if let Err(error) = ended {
            debug!(%error, uid = peer.uid, "control: connection ended early");
        },
        () = too_long => debug!(uid = peer.uid, "control: connection took too long"),
    }
}

#[cfg(test)]
mod tests;
