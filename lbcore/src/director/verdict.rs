//! How a frame can end.

use super::decide::Chosen;

/// What becomes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on to a real.
    Forward(Chosen),
    /// It is the host's business, not ours.
    Pass,
    /// It ends here.
    Drop(DropReason),
}

/// Why a frame was dropped; each reason is a counter. The words are metric labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum DropReason {
    /// Headers that contradict each other or the frame's length.
    Malformed,
    /// A fragment: its ports are missing, or reassembly would go astray.
    Fragment,
    /// IP options, or more IPv6 extension headers than we follow.
    IpOptions,
    /// A source address that no client can have: multicast, loopback, 0/8, or the VIP itself.
    Martian,
    /// A new flow, while this lbd is in maintenance: left to another one.
    Maintenance,
    /// Nobody may get the flow.
    NoReal,
    /// A real is chosen, but its MAC is not known.
    NoNeighbor,
    /// The flow's real is dead and the service says drop.
    DeadReal,
    /// The chosen real is this host, or the frame came from the real it would go to.
    Loop,
    /// The engine got only part of the frame.
    Truncated,
    /// The frame is larger than the outgoing interface takes.
    TooBig,
    /// The kernel did not take the frame: queue full or interface down.
    SendFailed,
}

impl DropReason {
    /// Every reason, in the order of its number.
    pub const ALL: [DropReason; 12] = [
        DropReason::Malformed,
        DropReason::Fragment,
        DropReason::IpOptions,
        DropReason::Martian,
        DropReason::Maintenance,
        DropReason::NoReal,
        DropReason::NoNeighbor,
        DropReason::DeadReal,
        DropReason::Loop,
        DropReason::Truncated,
        DropReason::TooBig,
        DropReason::SendFailed,
    ];

    /// The reason's word in metrics and JSON.
    pub fn word(self) -> &'static str {
        match self {
            DropReason::Malformed => "malformed",
            DropReason::Fragment => "fragment",
            DropReason::IpOptions => "ip_options",
            DropReason::Martian => "martian",
            DropReason::Maintenance => "maintenance",
            DropReason::NoReal => "no_real",
            DropReason::NoNeighbor => "no_neighbor",
            DropReason::DeadReal => "dead_real",
            DropReason::Loop => "loop",
            DropReason::Truncated => "truncated",
            DropReason::TooBig => "too_big",
            DropReason::SendFailed => "send_failed",
        }
    }
}
