//! The socket filter: which frames the engine sees at all. Classic BPF, run by the kernel for
//! every frame of the interface, so that other traffic of this host costs no copy and no wake-up.

use libc::sock_filter;
use std::net::IpAddr;

/// Instructions of the longest program with an exact list of VIPs (about 500 IPv4 or 110 IPv6
/// addresses). The list is walked for every frame of the host, and what it compiles to stays
/// below the kernel's bound on filters (`net.core.optmem_max`, 20,480 bytes on older kernels).
const MAX_INSTRUCTIONS: usize = 1024;

/// The whole frame.
const KEEP: u32 = u32::MAX;
const DROP: u32 = 0;

/// Offsets of the destination address from the start of the network header.
const IPV4_DESTINATION: u32 = 16;
const IPV6_DESTINATION: u32 = 24;

/// Keeps IPv4 and IPv6 frames that are addressed to this host's MAC and to one of `vips`, without
/// a VLAN tag or with one left in the bytes (the kernel takes the outer one out). When the list is
/// too long, any IPv4 or IPv6 frame to this host's MAC: the director passes on what is not ours.
pub fn program(vips: &[IpAddr]) -> Vec<sock_filter> {
    let exact = assemble(&ipv4_list(vips), &ipv6_list(vips));
    if exact.len() > MAX_INSTRUCTIONS {
        return assemble(&[give(KEEP)], &[give(KEEP)]);
    }
    exact
}

/// Keeps no frame: for a socket that is not ready for traffic yet.
pub fn nothing() -> Vec<sock_filter> {
    vec![give(DROP)]
}

/// The common beginning, which finds the network header (its offset goes to X) and its family,
/// and then a list for each family. Conditional jumps reach 255 instructions only; the one over
/// the IPv4 list is unconditional for that reason.
fn assemble(ipv4: &[sock_filter], ipv6: &[sock_filter]) -> Vec<sock_filter> {
    let packet_type = (libc::SKF_AD_OFF + libc::SKF_AD_PKTTYPE).cast_unsigned();
    let mut program = vec![
        load(libc::BPF_B | libc::BPF_ABS, packet_type),
        compare(u32::from(libc::PACKET_HOST), 1, 0),
        give(DROP),
        set_x(14),
        load(libc::BPF_H | libc::BPF_ABS, 12),
        compare(libc::ETH_P_8021Q.cast_unsigned(), 1, 0),
        compare(libc::ETH_P_8021AD.cast_unsigned(), 0, 2),
        set_x(18),
        load(libc::BPF_H | libc::BPF_ABS, 16),
        compare(libc::ETH_P_IPV6.cast_unsigned(), 0, 1),
        skip(ipv4.len() as u32 + 2),
        compare(libc::ETH_P_IP.cast_unsigned(), 1, 0),
        give(DROP),
    ];
    program.extend_from_slice(ipv4);
    program.extend_from_slice(ipv6);
    program
}

fn ipv4_list(vips: &[IpAddr]) -> Vec<sock_filter> {
    let mut list = vec![load(libc::BPF_W | libc::BPF_IND, IPV4_DESTINATION)];
    for vip in vips {
        if let IpAddr::V4(vip) = vip {
            list.extend([compare(u32::from(*vip), 0, 1), give(KEEP)]);
        }
    }
    list.push(give(DROP));
    list
}

/// Per address four words, the last one first since it differs most, and a verdict.
fn ipv6_list(vips: &[IpAddr]) -> Vec<sock_filter> {
    let mut list = Vec::new();
    for vip in vips {
        let IpAddr::V6(vip) = vip else { continue };
        let bits = vip.to_bits();
        for nth in 0..4_u8 {
            let word = (bits >> (32 * nth)) as u32;
            let offset = IPV6_DESTINATION + 12 - 4 * u32::from(nth);
            list.push(load(libc::BPF_W | libc::BPF_IND, offset));
            list.push(compare(word, 0, 7 - 2 * nth));
        }
        list.push(give(KEEP));
    }
    list.push(give(DROP));
    list
}

fn load(size_and_mode: u32, offset: u32) -> sock_filter {
    instruction(libc::BPF_LD | size_and_mode, 0, 0, offset)
}

fn set_x(value: u32) -> sock_filter {
    instruction(libc::BPF_LDX | libc::BPF_W | libc::BPF_IMM, 0, 0, value)
}

/// Skips `if_equal` or `if_not` instructions.
fn compare(value: u32, if_equal: u8, if_not: u8) -> sock_filter {
    instruction(
        libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
        if_equal,
        if_not,
        value,
    )
}

fn skip(instructions: u32) -> sock_filter {
    instruction(libc::BPF_JMP | libc::BPF_JA, 0, 0, instructions)
}

fn give(bytes: u32) -> sock_filter {
    instruction(libc::BPF_RET | libc::BPF_K, 0, 0, bytes)
}

fn instruction(code: u32, jt: u8, jf: u8, k: u32) -> sock_filter {
    // Every classic opcode fits eight bits.
    sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    }
}

#[cfg(test)]
mod tests;
