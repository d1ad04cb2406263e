//! One TCP connection over frames of our own.

use super::{Call, Heard, Road};
use crate::probe::ProbeError;
use lbcore::net::Protocol;
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Checksum, Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp;
use smoltcp::time::Instant;
use smoltcp::wire::{HardwareAddress, IpCidr};
use std::collections::VecDeque;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;

/// What waits to be read: a real cannot be ahead by more.
const RECEIVE: usize = 16 * 1024;

/// What waits to be sent: a request, or a TLS handshake with a certificate of ours (there is none).
const SEND: usize = 8 * 1024;

/// See the module. It ends with a reset, so that the real keeps nothing of it.
pub(super) struct Connection {
    interface: Interface,
    sockets: SocketSet<'static>,
    handle: SocketHandle,
    line: Line,
    refused: bool,
}

/// smoltcp's network card.
struct Line {
    call: Call,
    heard: VecDeque<Packet>,
    trouble: Option<io::Error>,
}

impl Connection {
    /// Sends nothing yet.
    pub(super) fn new(road: Road) -> Result<Self, ProbeError> {
        let (source, vip) = (road.source, road.vip);
        let call = Call::new(road, Protocol::Tcp)?;
        let port = call.port;
        let mut line = Line {
            call,
            heard: VecDeque::new(),
            trouble: None,
        };
        let mut config = Config::new(HardwareAddress::Ip);
        config.random_seed = RandomState::new().build_hasher().finish();
        let mut interface = Interface::new(config, &mut line, now());
        interface.update_ip_addrs(|own| {
            let prefix = if source.is_ipv4() { 32 } else { 128 };
            // There is room for two, and this is the first.
            let _ = own.push(IpCidr::new(source.into(), prefix));
        });
        let buffer = |size| tcp::SocketBuffer::new(vec![0; size]);
        let mut socket = tcp::Socket::new(buffer(RECEIVE), buffer(SEND));
        let unfit = |error: tcp::ConnectError| ProbeError::Own(format!("{vip}: {error}"));
        socket
            .connect(interface.context(), vip, (source, port))
            .map_err(unfit)?;
        let mut sockets = SocketSet::new(Vec::new());
        let handle = sockets.add(socket);
        Ok(Connection {
            interface,
            sockets,
            handle,
            line,
            refused: false,
        })
    }

    pub(super) fn socket(&mut self) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut(self.handle)
    }

    /// Sends what is due and reads what has come. What stops it is our own trouble.
    pub(super) fn turn(&mut self) -> io::Result<()> {
        while let Ok(heard) = self.line.call.heard.try_recv() {
            self.take(heard);
        }
        self.interface
            .poll(now(), &mut self.line, &mut self.sockets);
        self.line.trouble.take().map_or(Ok(()), Err)
    }

    /// Waits until [`Connection::turn`] has something to do. Cancel safe.
    pub(super) async fn wait(&mut self) {
        let pause = self.interface.poll_delay(now(), &self.sockets);
        let pause = pause.map(|pause| Duration::from_micros(pause.total_micros()));
        let timer = async {
            match pause {
                Some(pause) => tokio::time::sleep(pause).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some(heard) = self.line.call.heard.recv() => self.take(heard),
            () = timer => {}
        }
    }

    /// Whether an ICMP error has said that nobody is there.
    pub(super) fn is_refused(&self) -> bool {
        self.refused
    }

    fn take(&mut self, heard: Heard) {
        match heard {
            Heard::Packet(packet, room) => self.line.heard.push_back(Packet(packet, room)),
            Heard::Refused => self.refused = true,
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.socket().abort();
        // The reset; if it cannot be sent, the real forgets the connection by itself.
        let _ = self.turn();
    }
}

impl Device for Line {
    type RxToken<'a> = Packet;
    type TxToken<'a> = Sender<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Packet, Sender<'_>)> {
        let packet = self.heard.pop_front()?;
        Some((packet, Sender(self)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Sender<'_>> {
        Some(Sender(self))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = self.call.road.mtu;
        // Behind checksum offload those that arrive are unfinished.
        capabilities.checksum.ipv4 = Checksum::Tx;
        capabilities.checksum.tcp = Checksum::Tx;
        capabilities
    }
}

/// One that has come, and the room it takes until it is read.
struct Packet(
    Vec<u8>,
    #[expect(dead_code, reason = "held")] OwnedSemaphorePermit,
);

impl RxToken for Packet {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

/// One to go.
struct Sender<'a>(&'a mut Line);

impl TxToken for Sender<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let road = &self.0.call.road;
        let mut frame = vec![0; road.header.len() + len];
        frame[..road.header.len()].copy_from_slice(&road.header);
        let result = f(&mut frame[road.header.len()..]);
        if let Err(error) = road.ear.send(&frame) {
            self.0.trouble = Some(error);
        }
        result
    }
}

/// smoltcp's clock begins where ours does.
fn now() -> Instant {
    Instant::from_millis(i64::try_from(crate::sys::clock::now().0).unwrap_or(i64::MAX))
}
