//! An engine without a network, for tests and tools: frames are put in and taken out by hand.

use super::{Disposition, FrameHandler, FrameIo, IoFault};
use lbcore::director::DropReason;
use lbcore::net::FrameMeta;
use std::collections::VecDeque;
use std::time::Duration;

/// Frames handled in one turn, as in a real engine.
const BATCH: usize = 64;

/// A frame that was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentFrame {
    /// Egress interface.
    pub ifindex: u32,
    /// The frame as the handler left it.
    pub bytes: Vec<u8>,
    /// The metadata it came with; a VLAN tag in it goes out again.
    pub meta: FrameMeta,
}

/// The in-memory engine.
#[derive(Debug, Default)]
pub struct MemoryIo {
    /// What the next turns receive.
    pub incoming: VecDeque<(Vec<u8>, FrameMeta)>,
    /// What was sent, oldest first.
    pub outgoing: Vec<SentFrame>,
    /// If set, every send fails for this reason.
    pub refuse_sends: Option<DropReason>,
    /// What the next turn returns instead of receiving.
    pub fault: Option<IoFault>,
    /// What [`FrameIo::ring_drops`] reports next.
    pub ring_drops: u64,
}

impl MemoryIo {
    /// Puts one frame into the receive queue.
    pub fn receive(&mut self, bytes: Vec<u8>, meta: FrameMeta) {
        self.incoming.push_back((bytes, meta));
    }
}

impl FrameIo for MemoryIo {
    /// Never waits: what is there is there.
    fn turn<H: FrameHandler>(&mut self, _wait: Duration, handler: &mut H) -> Result<(), IoFault> {
        if let Some(fault) = self.fault.take() {
            return Err(fault);
        }
        if !self.incoming.is_empty() {
            handler.begin();
        }
        for (mut bytes, meta) in self.incoming.drain(..self.incoming.len().min(BATCH)) {
            let recognised = handler.recognise(&bytes, &meta);
            let disposition = handler.frame(&mut bytes, &meta, &recognised);
            let Disposition::Forward { ifindex } = disposition else {
                continue;
            };
            match self.refuse_sends {
                Some(reason) => handler.lost(ifindex, reason),
                None => {
                    self.outgoing.push(SentFrame {
                        ifindex,
                        bytes,
                        meta,
                    });
                    handler.sent(ifindex, 1);
                }
            }
        }
        handler.idle();
        Ok(())
    }

    fn ring_drops(&mut self) -> u64 {
        std::mem::take(&mut self.ring_drops)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Forwards frames that begin with 1 to interface 7, after marking them.
    #[derive(Default)]
    struct Handler {
        batches: u32,
        sent: u64,
        lost: Vec<(u32, DropReason)>,
        idle: u32,
    }

    impl FrameHandler for Handler {
        type Recognised = ();
        fn recognise(&self, _frame: &[u8], _meta: &FrameMeta) {}
        fn begin(&mut self) {
            self.batches += 1;
        }
        fn frame(&mut self, frame: &mut [u8], _meta: &FrameMeta, _recognised: &()) -> Disposition {
            if frame[0] != 1 {
                return Disposition::Release;
            }
            frame[0] = 9;
            Disposition::Forward { ifindex: 7 }
        }
        fn sent(&mut self, _ifindex: u32, frames: u64) {
            self.sent += frames;
        }
        fn lost(&mut self, ifindex: u32, reason: DropReason) {
            self.lost.push((ifindex, reason));
        }
        fn idle(&mut self) {
            self.idle += 1;
        }
    }

    #[test]
    fn forwards_what_the_handler_forwards() {
        let (mut io, mut handler) = (MemoryIo::default(), Handler::default());
        io.receive(vec![1, 2], FrameMeta::default());
        io.receive(vec![3, 4], FrameMeta::default());
        io.turn(Duration::ZERO, &mut handler).expect("turn");
        let sent = SentFrame {
            ifindex: 7,
            bytes: vec![9, 2],
            meta: FrameMeta::default(),
        };
        assert_eq!(io.outgoing, vec![sent]);
        assert_eq!((handler.batches, handler.sent, handler.idle), (1, 1, 1));
    }

    #[test]
    fn a_refused_send_is_a_loss_and_a_fault_is_reported_once() {
        let (mut io, mut handler) = (MemoryIo::default(), Handler::default());
        io.receive(vec![1], FrameMeta::default());
        io.refuse_sends = Some(DropReason::SendFailed);
        io.fault = Some(IoFault::Down);
        assert!(matches!(
            io.turn(Duration::ZERO, &mut handler),
            Err(IoFault::Down)
        ));
        io.turn(Duration::ZERO, &mut handler).expect("turn");
        assert_eq!(
            (handler.sent, handler.lost),
            (0, vec![(7, DropReason::SendFailed)])
        );
        assert!(io.outgoing.is_empty());
    }
}
