//! The two MAC addresses of a frame, and changing them in place.

use super::MacAddr;

/// The two MAC addresses at the start of an Ethernet frame.
const ADDRESSES: usize = 12;

/// Destination and source of a frame; `None` of one too short to have them.
pub fn macs(frame: &[u8]) -> Option<(MacAddr, MacAddr)> {
    let (dst, rest) = frame.split_first_chunk::<6>()?;
    let src = rest.first_chunk::<6>()?;
    Some(((*dst).into(), (*src).into()))
}

/// Direct routing: the frame goes to `dst` as from `src`, and nothing but these twelve bytes
/// changes. A frame too short to have them stays as it is; `net::packet` never lets one through.
#[inline]
pub fn direct_route(frame: &mut [u8], src: MacAddr, dst: MacAddr) {
    if let Some(addresses) = frame.first_chunk_mut::<ADDRESSES>() {
        let (to, from) = addresses.split_at_mut(6);
        to.copy_from_slice(&dst.octets());
        from.copy_from_slice(&src.octets());
    }
}
