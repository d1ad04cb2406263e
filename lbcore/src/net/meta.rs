//! What an engine knows of a frame beside its bytes.

/// A VLAN tag that the kernel took out of the frame and handed over as metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VlanTag {
    /// Tag protocol: 0x8100 or 0x88a8.
    pub tpid: u16,
    /// Priority, DEI and VLAN id.
    pub tci: u16,
}

/// A received frame's metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct FrameMeta {
    /// Interface it came in on.
    pub ifindex: u32,
    /// The outer tag, when it is no longer in the bytes.
    pub vlan: Option<VlanTag>,
    /// Payload bytes of one segment of a super-frame (virtio-net `gso_size`); 0: an ordinary frame.
    pub gso_size: u16,
}
