//! One packet socket an interface, for all probes that go out there.

use super::{Heard, WAITING_BYTES};
use crate::sys::link_socket::{self, LinkSocket};
use lbcore::net::packet::{self, Subject};
use lbcore::net::{FlowKey, FrameMeta};
use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;

/// The largest super-frame: 64 KiB of IP behind an Ethernet header.
const MOST: usize = 65_536 + 14;

type Calls = HashMap<FlowKey, Listener>;

/// Whom a packet is for.
#[derive(Debug)]
struct Listener {
    sender: mpsc::Sender<Heard>,
    room: Arc<Semaphore>,
}

impl Listener {
    /// What finds no room is lost.
    fn tell(&self, heard: Option<&[u8]>) {
        let heard = match heard {
            None => Heard::Refused,
            Some(packet) => {
                let length = u32::try_from(packet.len()).unwrap_or(u32::MAX);
                let Ok(room) = self.room.clone().try_acquire_many_owned(length) else {
                    return;
                };
                Heard::Packet(packet.to_vec(), room)
            }
        };
        let _ = self.sender.try_send(heard);
    }
}

#[derive(Debug)]
pub(super) struct Ear {
    socket: Arc<LinkSocket>,
    calls: Arc<Mutex<Calls>>,
    task: JoinHandle<()>,
}

impl Ear {
    pub(super) fn open(ifindex: u32) -> io::Result<Self> {
        let socket = Arc::new(LinkSocket::open_with(ifindex, &link_socket::ANSWERS)?);
        let calls = Arc::default();
        let task = tokio::spawn(hear(socket.clone(), Arc::clone(&calls)));
        Ok(Ear {
            socket,
            calls,
            task,
        })
    }

    /// False once its interface is gone.
    pub(super) fn hears(&self) -> bool {
        !self.task.is_finished()
    }

    /// What belongs to `key`, seen from the real, goes to `sender`. False if somebody else has it.
    pub(super) fn listen(&self, key: FlowKey, sender: &mpsc::Sender<Heard>) -> bool {
        let mut calls = lock(&self.calls);
        let free = !calls.contains_key(&key);
        if free {
            let listener = Listener {
                sender: sender.clone(),
                room: Arc::new(Semaphore::new(WAITING_BYTES)),
            };
            calls.insert(key, listener);
        }
        free
    }

    pub(super) fn forget(&self, key: &FlowKey) {
        lock(&self.calls).remove(key);
    }

    /// Sends a frame as it is.
    pub(super) fn send(&self, frame: &[u8]) -> io::Result<()> {
        self.socket.send(frame)
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Until the interface is gone.
async fn hear(socket: Arc<LinkSocket>, calls: Arc<Mutex<Calls>>) {
    let mut room = vec![0; MOST];
    // A super-frame's length is its own; the IP header of one says the whole.
    let meta = FrameMeta {
        gso_size: 1,
        ..FrameMeta::default()
    };
    loop {
        socket.readable().await;
        let length = match socket.receive(&mut room) {
            Ok(length) => length,
            Err(error) if error.raw_os_error() == Some(libc::ENXIO) => return,
            // Nothing there after all, or the interface is down: it may come up again.
            Err(_) => continue,
        };
        let frame = &room[..length];
        let Ok(parsed) = packet::parse(frame, &meta) else {
            continue;
        };
        let (key, heard) = match parsed.subject {
            Subject::Flow { key, .. } => (key, Some(&frame[14..])),
            Subject::IcmpError { key } => (key, None),
            Subject::Other => continue,
        };
        if let Some(listener) = lock(&calls).get(&key) {
            listener.tell(heard);
        }
    }
}

fn lock(calls: &Mutex<Calls>) -> MutexGuard<'_, Calls> {
    calls.lock().unwrap_or_else(PoisonError::into_inner)
}
