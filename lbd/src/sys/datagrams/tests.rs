use super::*;
use crate::sys::netns::Netns;
use std::net::UdpSocket;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

fn pair(local: &str) -> (UdpSocket, UdpSocket) {
    let bind = || UdpSocket::bind(local).expect("loopback");
    let (one, other) = (bind(), bind());
    other
        .connect(one.local_addr().expect("bound"))
        .expect("connected");
    (one, other)
}

fn receive(inbox: &mut Inbox, socket: &UdpSocket) -> usize {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        match inbox.receive(socket.as_fd()) {
            Ok(count) => return count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                assert!(Instant::now() < deadline, "nothing came");
                std::thread::yield_now();
            }
            Err(error) => panic!("{error}"),
        }
    }
}

fn plain<'a>(to: Option<SocketAddr>, bytes: &'a [u8]) -> Outgoing<'a> {
    Outgoing {
        to,
        head: &[],
        bytes,
        segment: 0,
    }
}

fn never(refused: Refused) {
    panic!("{refused:?}");
}

#[test]
fn a_batch_goes_and_comes_with_its_addresses() {
    for local in ["127.0.0.1:0", "[::1]:0"] {
        let (server, client) = pair(local);
        let (mut inbox, mut outbox) = (Inbox::default(), Outbox::default());
        let payloads: Vec<Vec<u8>> = (0..40u8).map(|n| vec![n; usize::from(n)]).collect();
        let each = payloads.iter().map(|bytes| plain(None, bytes));
        outbox.send(client.as_fd(), each, never);
        let mut seen = Vec::new();
        let from = client.local_addr().expect("bound");
        for expected in [BATCH, 8] {
            let count = receive(&mut inbox, &server);
            assert_eq!(count, expected);
            for index in 0..count {
                let datagram = inbox.get(index);
                assert_eq!(datagram.from, Some(from));
                assert_eq!((datagram.segment, datagram.datagrams()), (0, 1));
                seen.push(datagram.bytes.to_vec());
            }
        }
        assert_eq!(seen, payloads);
        assert_eq!(inbox.get(8).bytes, b"", "beyond the batch there is nothing");

        let answer = Outgoing {
            head: b"head ",
            ..plain(Some(from), b"and body")
        };
        outbox.send(server.as_fd(), std::iter::once(answer), never);
        receive(&mut inbox, &client);
        assert_eq!(inbox.get(0).bytes, b"head and body");
    }
}

#[test]
fn what_the_kernel_refuses_is_reported_and_the_rest_goes_out() {
    let (server, client) = pair("127.0.0.1:0");
    let (mut inbox, mut outbox) = (Inbox::default(), Outbox::default());
    let long = vec![1; 65_508];
    let payloads: [&[u8]; 4] = [b"one", &long, b"three", &long];
    let mut refused = Vec::new();
    let each = payloads.iter().map(|bytes| plain(None, bytes));
    outbox.send(client.as_fd(), each, |it| {
        refused.push((it.index, it.datagrams, it.bytes, it.error.raw_os_error()));
    });
    let too_long = Some(libc::EMSGSIZE);
    assert_eq!(
        refused,
        [(1, 1, 65_508, too_long), (3, 1, 65_508, too_long)]
    );
    assert_eq!(receive(&mut inbox, &server), 2);
    assert_eq!(inbox.get(1).bytes, b"three");
}

#[test]
fn datagrams_of_one_size_come_and_go_as_one() {
    let (server, client) = pair("127.0.0.1:0");
    join_received(server.as_fd()).expect("since Linux 5.0");
    let (mut inbox, mut outbox) = (Inbox::default(), Outbox::default());
    let bytes: Vec<u8> = (0..100u32 * 100 + 7).map(|n| n as u8).collect();
    let joined = Outgoing {
        segment: 100,
        ..plain(None, &bytes)
    };
    outbox.send(client.as_fd(), std::iter::once(joined), never);
    let (mut seen, mut datagrams, mut messages) = (Vec::new(), 0, 0);
    while datagrams < 101 {
        for index in 0..receive(&mut inbox, &server) {
            let datagram = inbox.get(index);
            seen.extend_from_slice(datagram.bytes);
            datagrams += datagram.datagrams();
            messages += 1;
        }
    }
    assert_eq!(seen, bytes);
    assert_eq!(datagrams, 101);
    assert!(messages < 101, "{messages} messages");

    // With something before each, every one is a message again.
    let headed = Outgoing {
        head: b"head",
        ..joined
    };
    outbox.send(client.as_fd(), std::iter::once(headed), never);
    let mut datagrams = 0;
    while datagrams < 101 {
        for index in 0..receive(&mut inbox, &server) {
            let datagram = inbox.get(index);
            let step = if datagram.segment == 0 {
                datagram.bytes.len()
            } else {
                usize::from(datagram.segment)
            };
            assert!(datagram.bytes.chunks(step).all(|d| d.starts_with(b"head")));
            datagrams += datagram.datagrams();
        }
    }
}

#[test]
fn a_refusal_by_the_peer_is_told_once() {
    let (server, client) = pair("127.0.0.1:0");
    drop(server);
    let (mut inbox, mut outbox) = (Inbox::default(), Outbox::default());
    outbox.send(client.as_fd(), std::iter::once(plain(None, b"x")), never);
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let error = inbox.receive(client.as_fd()).expect_err("nobody answers");
        match error.kind() {
            io::ErrorKind::ConnectionRefused => break,
            io::ErrorKind::WouldBlock => assert!(Instant::now() < deadline, "nothing came"),
            other => panic!("{other}"),
        }
        std::thread::yield_now();
    }
    let error = inbox.receive(client.as_fd()).expect_err("nothing more");
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
}

#[test]
fn a_queue_says_what_it_lost() {
    let (server, client) = pair("127.0.0.1:0");
    set_queue(server.as_fd(), 64 << 10).expect("set");
    assert_eq!(queue(server.as_fd()).expect("told").lost, 0);
    let payload = [0; 1000];
    for _ in 0..1000 {
        client.send(&payload).expect("sent");
    }
    let full = queue(server.as_fd()).expect("told");
    assert!(full.lost > 0 && full.lost < 1000, "{full:?}");
    assert!(full.used * 2 > full.room, "{full:?}");
    let (mut inbox, mut taken) = (Inbox::default(), 0);
    while let Ok(count) = inbox.receive(server.as_fd()) {
        taken += count;
    }
    assert_eq!(taken + full.lost as usize, 1000);
}

#[test]
fn what_the_way_takes_only_one_by_one_goes_one_by_one() {
    let Some(netns) = Netns::new() else { return };
    netns.ip("link set lo up mtu 1400");
    netns.run(|| {
        let (server, client) = pair("127.0.0.1:0");
        let (mut inbox, mut outbox) = (Inbox::default(), Outbox::default());
        // Joined they would have to be cut to more than the MTU; alone each goes as two fragments.
        let bytes: Vec<u8> = (0..1450u32 * 4 + 9).map(|n| (n / 7) as u8).collect();
        let joined = Outgoing {
            segment: 1450,
            ..plain(None, &bytes)
        };
        outbox.send(client.as_fd(), std::iter::once(joined), never);
        let mut seen: Vec<Vec<u8>> = Vec::new();
        while seen.len() < 5 {
            let count = receive(&mut inbox, &server);
            seen.extend((0..count).map(|nth| inbox.get(nth).bytes.to_vec()));
        }
        assert!(seen.iter().map(Vec::as_slice).eq(bytes.chunks(1450)));
    });
}
