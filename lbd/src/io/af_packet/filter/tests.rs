//! The program is run by a small interpreter, and shown to the kernel's own verifier.

use super::*;
use proptest::prelude::*;
use std::net::{Ipv4Addr, Ipv6Addr};

/// What the kernel does with the instructions used here; a load beyond the frame ends with 0.
fn run(program: &[sock_filter], frame: &[u8], packet_type: u8) -> u32 {
    let (mut a, mut x, mut pc) = (0_u32, 0_u32, 0_usize);
    loop {
        let sock_filter { code, jt, jf, k } = program[pc];
        pc += 1;
        let code = u32::from(code);
        if code == libc::BPF_RET | libc::BPF_K {
            return k;
        } else if code == libc::BPF_LDX | libc::BPF_W | libc::BPF_IMM {
            x = k;
        } else if code == libc::BPF_JMP | libc::BPF_JA {
            pc += k as usize;
        } else if code == libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K {
            pc += usize::from(if a == k { jt } else { jf });
        } else if code == libc::BPF_LD | libc::BPF_B | libc::BPF_ABS {
            assert_eq!(k.cast_signed(), libc::SKF_AD_OFF + libc::SKF_AD_PKTTYPE);
            a = u32::from(packet_type);
        } else {
            let indirect = code & 0xe0 == libc::BPF_IND;
            let size = if code & 0x18 == libc::BPF_H { 2 } else { 4 };
            let at = if indirect {
                (x + k) as usize
            } else {
                k as usize
            };
            let Some(bytes) = frame.get(at..at + size) else {
                return 0;
            };
            a = bytes.iter().fold(0, |a, &byte| a << 8 | u32::from(byte));
        }
    }
}

fn frame(tags: &[u16], destination: IpAddr) -> Vec<u8> {
    let mut frame = vec![2; 12];
    for tag in tags {
        frame.extend(tag.to_be_bytes());
        frame.extend([0, 10]);
    }
    match destination {
        IpAddr::V4(to) => {
            frame.extend([0x08, 0x00]);
            frame.extend([0x45; 16]);
            frame.extend(to.octets());
        }
        IpAddr::V6(to) => {
            frame.extend([0x86, 0xdd]);
            frame.extend([0x60; 24]);
            frame.extend(to.octets());
        }
    }
    frame
}

const V4: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 10));
const V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 10));

#[test]
fn keeps_frames_to_vips_only() {
    let program = program(&[V4, V6]);
    let other4 = "192.0.2.11".parse().expect("address");
    for vip in [V4, V6] {
        assert_eq!(run(&program, &frame(&[], vip), 0), KEEP);
        assert_eq!(run(&program, &frame(&[0x8100], vip), 0), KEEP);
        assert_eq!(run(&program, &frame(&[0x88a8], vip), 0), KEEP);
        assert_eq!(run(&program, &frame(&[0x8100, 0x8100], vip), 0), DROP);
    }
    assert_eq!(run(&program, &frame(&[], other4), 0), DROP);
    // One bit wrong in each of the four words.
    for bit in [0, 40, 70, 127] {
        let IpAddr::V6(vip) = V6 else { unreachable!() };
        let other = Ipv6Addr::from_bits(vip.to_bits() ^ (1 << bit));
        assert_eq!(run(&program, &frame(&[], other.into()), 0), DROP, "{other}");
    }
}

#[test]
fn t48_keeps_only_what_is_addressed_to_this_host() {
    for program in [program(&[V4, V6]), program(&many())] {
        // PACKET_BROADCAST, PACKET_MULTICAST, PACKET_OTHERHOST, PACKET_OUTGOING
        for packet_type in 1..=4 {
            assert_eq!(
                run(&program, &frame(&[], V4), packet_type),
                DROP,
                "{packet_type}"
            );
            assert_eq!(
                run(&program, &frame(&[], V6), packet_type),
                DROP,
                "{packet_type}"
            );
        }
    }
}

#[test]
fn drops_other_protocols_and_every_short_frame() {
    let program = program(&[V4, V6]);
    let mut arp = frame(&[], V4);
    arp[12..14].copy_from_slice(&[0x08, 0x06]);
    assert_eq!(run(&program, &arp, 0), DROP);
    for whole in [frame(&[], V4), frame(&[], V6), frame(&[0x8100], V4)] {
        for len in 0..whole.len() {
            assert_eq!(run(&program, &whole[..len], 0), DROP, "{len} bytes");
        }
    }
}

#[test]
fn one_family_alone_and_no_vip_at_all() {
    assert_eq!(run(&program(&[V6]), &frame(&[], V4), 0), DROP);
    assert_eq!(run(&program(&[V6]), &frame(&[], V6), 0), KEEP);
    assert_eq!(run(&program(&[V4]), &frame(&[], V6), 0), DROP);
    assert_eq!(run(&program(&[]), &frame(&[], V4), 0), DROP);
    assert_eq!(run(&nothing(), &frame(&[], V4), 0), DROP);
}

fn many() -> Vec<IpAddr> {
    (0..2000_u32)
        .map(|n| IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + n)))
        .collect()
}

#[test]
fn a_list_too_long_keeps_the_family() {
    let program = program(&many());
    assert!(program.len() < 20);
    assert_eq!(run(&program, &frame(&[], V4), 0), KEEP);
    assert_eq!(run(&program, &frame(&[0x8100], V6), 0), KEEP);
    let mut arp = frame(&[], V4);
    arp[12..14].copy_from_slice(&[0x08, 0x06]);
    assert_eq!(run(&program, &arp, 0), DROP);
}

#[test]
fn the_kernel_takes_the_longest_program_of_each_kind() {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("socket");
    let v4 = many()[..500].to_vec();
    let v6: Vec<_> = (0..110_u128)
        .map(|n| IpAddr::V6(Ipv6Addr::from_bits(n << 3)))
        .collect();
    for vips in [v4, v6, many(), vec![]] {
        let program = program(&vips);
        assert!(program.len() <= MAX_INSTRUCTIONS);
        crate::sys::packet_socket::attach_filter(&socket, &program).expect("attach");
    }
}

proptest! {
    #[test]
    fn keeps_exactly_the_members(
        vips in prop::collection::vec(any::<IpAddr>(), 0..40),
        other in any::<IpAddr>(),
        tagged in any::<bool>(),
    ) {
        let program = program(&vips);
        let tags: &[u16] = if tagged { &[0x8100] } else { &[] };
        for to in vips.iter().chain([&other]) {
            let expected = if vips.contains(to) { KEEP } else { DROP };
            prop_assert_eq!(run(&program, &frame(tags, *to), 0), expected);
        }
    }
}
