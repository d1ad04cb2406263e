//! Capture files, written by hand: pcap as `tcpdump -w` writes it.

use std::path::Path;

/// Writes `frames`, a millisecond apart, as a pcap file.
///
/// # Panics
/// When the file cannot be written.
pub fn write_pcap(file: &Path, frames: &[Vec<u8>]) {
    const ETHERNET: u32 = 1;
    let mut bytes = Vec::new();
    let word = |bytes: &mut Vec<u8>, word: u32| bytes.extend(word.to_le_bytes());
    word(&mut bytes, 0xa1b2_c3d4);
    bytes.extend([2, 0, 4, 0]);
    for field in [0, 0, 262_144, ETHERNET] {
        word(&mut bytes, field);
    }
    for (n, frame) in (0u32..).zip(frames) {
        let length = u32::try_from(frame.len()).expect("a frame");
        for field in [1_700_000_000 + n / 1000, n % 1000 * 1000, length, length] {
            word(&mut bytes, field);
        }
        bytes.extend(frame);
    }
    std::fs::write(file, bytes).expect("a capture");
}
