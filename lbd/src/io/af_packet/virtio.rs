//! The `virtio_net_hdr` before each frame (virtio 1.2, 5.1.6): what is unfinished about it.
//! In host byte order, as the kernel uses it on packet sockets.

use lbcore::net::VlanTag;

/// Bytes of the header, directly before the frame.
pub const LEN: usize = crate::sys::packet_socket::VIRTIO_HEADER;

/// Bytes that a VLAN tag put back takes before the header.
pub const TAG: usize = 4;

/// Where a tag goes: after the two MACs.
const MACS: usize = 12;

/// Byte offsets of the fields used here.
const FLAGS: usize = 0;
const GSO_TYPE: usize = 1;
const HDR_LEN: usize = 2;
const GSO_SIZE: usize = 4;
const CSUM_START: usize = 6;

/// VIRTIO_NET_HDR_F_NEEDS_CSUM.
const NEEDS_CSUM: u8 = 1;

/// Payload bytes per segment of a super-frame, 0 for an ordinary one. `header` begins with the
/// virtio header.
pub fn gso_size(header: &[u8]) -> u16 {
    if header[GSO_TYPE] == 0 {
        0
    } else {
        get(header, GSO_SIZE)
    }
}

/// Whether the kernel has to finish the frame: cut it, or write its checksum. `header` begins with the
/// virtio header; what it says besides is of use on receipt only.
pub fn is_unfinished(header: &[u8]) -> bool {
    header[GSO_TYPE] != 0 || header[FLAGS] & NEEDS_CSUM != 0
}

/// Puts a VLAN tag back: `buffer` holds [`TAG`] spare bytes, the virtio header and the frame;
/// header and MACs move over the spare bytes, the tag takes their place, and what the header says
/// of offsets grows. `buffer` must hold a frame of at least 14 bytes.
pub fn restore_tag(buffer: &mut [u8], tag: VlanTag) {
    buffer.copy_within(TAG..TAG + LEN + MACS, 0);
    let at = LEN + MACS;
    buffer[at..at + 2].copy_from_slice(&tag.tpid.to_be_bytes());
    buffer[at + 2..at + 4].copy_from_slice(&tag.tci.to_be_bytes());
    for (field, used) in [
        (CSUM_START, buffer[FLAGS] & NEEDS_CSUM != 0),
        (HDR_LEN, get(buffer, HDR_LEN) != 0),
    ] {
        if used {
            let moved = get(buffer, field).saturating_add(TAG as u16);
            buffer[field..field + 2].copy_from_slice(&moved.to_ne_bytes());
        }
    }
}

fn get(header: &[u8], at: usize) -> u16 {
    u16::from_ne_bytes([header[at], header[at + 1]])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buffer(flags: u8, gso_type: u8, hdr_len: u16, csum_start: u16) -> Vec<u8> {
        let mut buffer = vec![0xee; TAG];
        buffer.extend([flags, gso_type]);
        for field in [hdr_len, 1448, csum_start, 16] {
            buffer.extend(field.to_ne_bytes());
        }
        buffer.extend(1..=14);
        buffer.extend([0x45; 40]);
        buffer
    }

    const TAG_10: VlanTag = VlanTag {
        tpid: 0x8100,
        tci: 0x600a,
    };

    #[test]
    fn t11_the_tag_comes_back_after_the_macs() {
        let mut plain = buffer(0, 0, 0, 0);
        restore_tag(&mut plain, TAG_10);
        let frame = &plain[LEN..];
        assert_eq!(frame[..12], *(1..=12).collect::<Vec<u8>>());
        assert_eq!(frame[12..16], [0x81, 0x00, 0x60, 0x0a]);
        assert_eq!(frame[16..18], [13, 14]);
        assert_eq!(frame[18..], [0x45; 40]);
        assert_eq!(plain[..4], [0, 0, 0, 0]);
        assert_eq!(get(&plain, CSUM_START), 0);
    }

    #[test]
    fn t11_offsets_of_a_super_frame_move_with_it() {
        let mut large = buffer(NEEDS_CSUM, 1, 66, 34);
        assert_eq!(gso_size(&large[TAG..]), 1448);
        restore_tag(&mut large, TAG_10);
        assert_eq!((get(&large, HDR_LEN), get(&large, CSUM_START)), (70, 38));
        assert_eq!(gso_size(&large), 1448);
    }

    #[test]
    fn an_ordinary_frame_has_no_segment_size() {
        assert_eq!(gso_size(&buffer(NEEDS_CSUM, 0, 0, 34)[TAG..]), 0);
    }

    #[test]
    fn super_frames_and_frames_without_a_checksum_are_unfinished() {
        /// VIRTIO_NET_HDR_F_DATA_VALID: the checksum was looked at, and is good.
        const DATA_VALID: u8 = 2;
        for (flags, gso_type, unfinished) in [
            (0, 0, false),
            (DATA_VALID, 0, false),
            (NEEDS_CSUM, 0, true),
            (NEEDS_CSUM, 1, true),
            (DATA_VALID, 4, true),
        ] {
            let header = buffer(flags, gso_type, 0, 0);
            assert_eq!(is_unfinished(&header[TAG..]), unfinished);
        }
    }
}
