use super::*;
use crate::proxy::budget::Budget;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

fn pair() -> (UnixStream, UnixStream) {
    let (a, b) = UnixStream::pair().expect("a pair");
    a.set_nonblocking(true).expect("set");
    b.set_nonblocking(true).expect("set");
    (a, b)
}

fn tools(descriptors: usize) -> Tools {
    Tools::new(Pipes::new(Arc::new(Budget::new(descriptors))))
}

/// As much as fits, counting from `at`; how far it came.
fn stuff(mut into: &UnixStream, mut at: usize) -> usize {
    loop {
        let bytes: Vec<u8> = (at..at + 4096).map(|n| (n / 7) as u8).collect();
        match into.write(&bytes) {
            Ok(n) => at += n,
            Err(_) => return at,
        }
    }
}

/// T40: what a peer that does not read costs.
#[test]
fn t40_of_what_is_not_read_a_chunk_is_kept_at_most() {
    let mut tools = tools(0);
    let ((client, from), (to, mut real)) = (pair(), pair());
    let mut direction = Direction::default();
    let (mut sent, mut kept) = (0, 0);
    for _ in 0..100 {
        sent = stuff(&client, sent);
        let turn = direction.turn(from.as_fd(), to.as_fd(), &mut tools);
        assert!(turn.is_ok_and(|turn| turn != Turn::Ended));
        if let Carry::Bytes(bytes, gone) = &direction.carry {
            assert!(bytes.len() <= CHUNK);
            kept = bytes.len() - gone;
        }
    }
    assert!(direction.is_blocked() && kept > 0);
    // And nothing of it is lost.
    drop(client);
    let mut received = Vec::new();
    while direction.turn(from.as_fd(), to.as_fd(), &mut tools) != Ok(Turn::Ended) {
        let mut room = [0; 10_000];
        let n = real.read(&mut room).expect("more");
        received.extend(&room[..n]);
        direction.destination_has_room();
    }
    drop(to);
    real.read_to_end(&mut received).expect("to the end");
    assert_eq!(received.len(), sent);
    assert!((0..sent).all(|n| received[n] == (n / 7) as u8));
    assert_eq!(direction.bytes(), sent as u64);
}

#[test]
fn only_a_turn_that_ended_for_fairness_is_taken_up_again() {
    let mut tools = tools(8);
    let ((client, from), (to, _real)) = (pair(), pair());
    let mut direction = Direction::default();
    stuff(&client, 0);
    let mut turns = 0;
    loop {
        let turn = direction.turn(from.as_fd(), to.as_fd(), &mut tools);
        assert_eq!(direction.is_unfinished(), turn == Ok(Turn::Unfinished));
        turns += 1;
        if turn != Ok(Turn::Unfinished) {
            break;
        }
    }
    assert!(turns < 10, "{turns}");
}
