use crate::live::Outcome;
use crate::proxy::budget::Budget;
use crate::proxy::testbed::*;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

const RS1: &str = "10.0.0.1:8080";
const RS2: &str = "10.0.0.2:8080";

/// A client's connection through the proxy and the real's end of it.
fn pair(listener: &TcpListener) -> (TcpStream, TcpStream) {
    let client = call();
    (client, accepted(listener))
}

fn said(stream: &mut TcpStream, n: usize) -> Vec<u8> {
    let mut bytes = vec![0; n];
    stream.read_exact(&mut bytes).expect("so many bytes");
    bytes
}

fn is_reset(stream: &mut TcpStream) -> bool {
    let mut rest = Vec::new();
    stream
        .read_to_end(&mut rest)
        .is_err_and(|e| e.kind() == ErrorKind::ConnectionReset)
}

/// A stream of bytes that is never the same at two places.
fn pattern(seed: u64, at: usize) -> u8 {
    let word = (at as u64 / 8)
        .wrapping_add(seed)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15);
    word.to_le_bytes()[at % 8] ^ (word >> 56) as u8
}

fn send_pattern(mut stream: &TcpStream, seed: u64, total: usize, piece: usize) {
    let mut at = 0;
    let mut buffer = vec![0; piece];
    while at < total {
        let n = piece.min(total - at);
        for (i, byte) in buffer[..n].iter_mut().enumerate() {
            *byte = pattern(seed, at + i);
        }
        stream.write_all(&buffer[..n]).expect("sent");
        at += n;
    }
    stream.shutdown(Shutdown::Write).expect("half closed");
}

fn expect_pattern(mut stream: &TcpStream, seed: u64, total: usize, piece: usize) {
    let mut at = 0;
    let mut buffer = vec![0; piece];
    loop {
        let n = stream.read(&mut buffer).expect("received");
        if n == 0 {
            break;
        }
        for (i, byte) in buffer[..n].iter().enumerate() {
            assert_eq!(*byte, pattern(seed, at + i), "byte {} differs", at + i);
        }
        at += n;
    }
    assert_eq!(at, total, "all and no more");
}

/// Both ways at once, each side closing its half when it has said all.
fn exchange(client: &TcpStream, real: &TcpStream, total: usize, pieces: [usize; 2]) {
    let [write, read] = pieces;
    thread::scope(|scope| {
        scope.spawn(|| send_pattern(client, 1, total, write));
        scope.spawn(|| send_pattern(real, 2, total, write));
        scope.spawn(|| expect_pattern(client, 2, total, read));
        scope.spawn(|| expect_pattern(real, 1, total, read));
    });
}

/// T36
#[test]
fn t36_the_real_sees_the_client_and_bytes_are_equal_both_ways() {
    isolated(|| {
        let listener = real("[2001:db8:3::1]:8080");
        let toml = service("", &["[2001:db8:3::1]:8080"]);
        let bed = Bed::new(&toml);
        let client = call_from("2001:db8:1::7", "[2001:db8:2::10]:80").expect("connected");
        let end = accepted(&listener);
        let seen = end.peer_addr().expect("connected").ip().to_string();
        assert_eq!(seen, "2001:db8:1::7");
        exchange(&client, &end, 3 << 20, [10_000, 65_536]);
        bed.wait_ended(Outcome::Ok, 1);

        let listener = real(RS1);
        let bed = Bed::new(&service("", &[RS1]));
        let (client, end) = pair(&listener);
        let seen = end.peer_addr().expect("connected").ip().to_string();
        assert_eq!(seen, CLIENT);
        exchange(&client, &end, 32 << 20, [65_536, 65_536]);
        bed.wait_ended(Outcome::Ok, 1);
        bed.wait_empty();
        let id = bed.live.table().services[0].id;
        let tally = |p: &std::sync::Arc<crate::live::ProxyShared>| {
            let tally = p.service(id);
            (tally.to_real.get(), tally.to_client.get())
        };
        let sums: Vec<_> = bed.live.proxies().iter().map(tally).collect();
        assert!(sums.contains(&(32 << 20, 32 << 20)), "{sums:?}");
    });
}

/// While bulk moves, one direction has a pipe; it is kept for the next, and given back at the end.
#[test]
fn bulk_is_spliced_and_a_short_exchange_is_not() {
    isolated(|| {
        let listener = real(RS1);
        let bed = Bed::new(&service("", &[RS1]));
        let (mut client, mut end) = pair(&listener);
        client.write_all(b"question").expect("sent");
        assert_eq!(said(&mut end, 8), b"question");
        assert_eq!(bed.budget.pipe_pages().taken(), 0);
        let reader = thread::spawn(move || io::copy(&mut end, &mut io::sink()).expect("received"));
        let chunk = vec![7; 1 << 20];
        let spliced = (0..256).any(|_| {
            client.write_all(&chunk).expect("sent");
            bed.budget.pipe_pages().taken() > 0
        });
        assert!(spliced, "256 MiB were copied");
        assert_eq!(
            bed.budget.descriptors().taken(),
            2 + 2,
            "one pipe, for one direction"
        );
        drop(client);
        reader.join().expect("to the end");
        bed.wait_empty();
        assert_eq!(bed.budget.pipe_pages().taken(), 0);
    });
}

/// The urgent byte itself goes no further; what is behind it does, and its end is no end of ours.
#[test]
fn bulk_goes_on_behind_urgent_data() {
    isolated(|| {
        let listener = real(RS1);
        let bed = Bed::new(&service("", &[RS1]));
        let (mut client, mut end) = pair(&listener);
        let (told, met) = std::sync::mpsc::channel();
        let reader = thread::spawn(move || {
            let mut buffer = vec![0; 1 << 16];
            let mut marks = 0;
            loop {
                let n = end.read(&mut buffer).expect("received");
                let new = buffer[..n].iter().filter(|byte| **byte == b'!').count();
                marks += new;
                (0..new).for_each(|_| told.send(()).expect("somebody waits"));
                if n == 0 {
                    return marks;
                }
            }
        });
        let chunk = vec![7; 1 << 20];
        let until_spliced = |mut client: &TcpStream| {
            let spliced = (0..256).any(|_| {
                client.write_all(&chunk).expect("sent");
                bed.budget.pipe_pages().taken() > 0
            });
            assert!(spliced, "256 MiB were copied");
        };
        let urgent = |client: &TcpStream| {
            let socket = socket2::SockRef::from(client);
            socket.send_out_of_band(b"u").expect("sent");
        };
        until_spliced(&client);
        urgent(&client);
        client.write_all(b"!").expect("sent");
        met.recv_timeout(SOON).expect("what is behind it arrives");
        until_spliced(&client);
        urgent(&client);
        client.write_all(b"!").expect("sent");
        drop(client);
        assert_eq!(reader.join().expect("to the end"), 2);
        bed.wait_empty();
    });
}

#[test]
fn bulk_is_equal_where_no_pipe_is_to_be_had() {
    isolated(|| {
        let listener = real(RS1);
        // Room for one connection, and for no pipe.
        let bed = Bed::within(&service("", &[RS1]), 1, Budget::new(2));
        let (client, end) = pair(&listener);
        exchange(&client, &end, 16 << 20, [65_536, 65_536]);
        bed.wait_ended(Outcome::Ok, 1);
        bed.wait_empty();
    });
}

#[test]
fn our_own_address_where_the_service_says_so() {
    isolated(|| {
        let listener = real(RS1);
        let _bed = Bed::new(&service("[service.proxy]\nsource = \"self\"", &[RS1]));
        let (mut client, mut end) = pair(&listener);
        assert_ne!(end.peer_addr().expect("connected").ip().to_string(), CLIENT);
        end.write_all(b"first").expect("sent");
        assert_eq!(said(&mut client, 5), b"first", "the real may speak first");
    });
}

#[test]
fn each_half_closes_for_itself() {
    isolated(|| {
        let listener = real(RS1);
        let bed = Bed::new(&service("", &[RS1]));
        let (mut client, mut end) = pair(&listener);
        client.write_all(b"question").expect("sent");
        client.shutdown(Shutdown::Write).expect("half closed");
        let mut question = Vec::new();
        end.read_to_end(&mut question).expect("to its end");
        assert_eq!(question, b"question");
        end.write_all(b"answer").expect("sent");
        assert_eq!(said(&mut client, 6), b"answer");
        assert_eq!(bed.list()[0].state, "closing");
        drop(end);
        assert_eq!(client.read(&mut [0]).expect("the end"), 0);
        bed.wait_ended(Outcome::Ok, 1);

        let (mut client, mut end) = pair(&listener);
        end.write_all(b"greeting").expect("sent");
        end.shutdown(Shutdown::Write).expect("half closed");
        let mut greeting = Vec::new();
        client.read_to_end(&mut greeting).expect("to its end");
        client.write_all(b"thanks").expect("sent");
        assert_eq!(said(&mut end, 6), b"thanks");
        drop(client);
        assert_eq!(end.read(&mut [0]).expect("the end"), 0);
        bed.wait_ended(Outcome::Ok, 2);
        bed.wait_empty();
    });
}

/// T43
#[test]
fn t43_a_reset_goes_through_and_what_came_before_it_too() {
    isolated(|| {
        let listener = real(RS1);
        let bed = Bed::new(&service("", &[RS1]));
        let (mut client, mut end) = pair(&listener);
        client.write_all(b"question").expect("sent");
        said(&mut end, 8);
        end.write_all(b"last words").expect("sent");
        assert_eq!(said(&mut client, 10), b"last words");
        reset(end);
        assert!(is_reset(&mut client));
        bed.wait_ended(Outcome::RealReset, 1);

        let (client, mut end) = pair(&listener);
        reset(client);
        assert!(is_reset(&mut end));
        bed.wait_ended(Outcome::ClientReset, 1);

        // After the client's FIN nobody reads it any more, but its reset still counts.
        let (client, mut end) = pair(&listener);
        client.shutdown(Shutdown::Write).expect("half closed");
        assert_eq!(end.read(&mut [0]).expect("the end"), 0);
        reset(client);
        bed.wait_ended(Outcome::ClientReset, 2);
        assert!(until(|| end.write_all(b"anybody?").is_err()));
        bed.wait_empty();
    });
}

/// T43: the real answers, and closes with the question unread.
#[test]
fn t43_an_early_answer_with_a_reset_behind_it_arrives() {
    isolated(|| {
        let listener = real(RS1);
        let bed = Bed::new(&service("", &[RS1]));
        for round in 1..=50 {
            let (mut client, mut end) = pair(&listener);
            client.write_all(b"a long question").expect("sent");
            said(&mut end, 1);
            end.write_all(b"too large").expect("sent");
            drop(end); // With unread bytes this is a reset.
            assert_eq!(said(&mut client, 9), b"too large");
            assert!(is_reset(&mut client));
            bed.wait_ended(Outcome::RealReset, round);
        }
    });
}

/// T40: what one side does not read is not heaped up here.
#[test]
fn t40_a_peer_that_never_reads_costs_the_kernels_buffers_only() {
    isolated(|| {
        let listener = real(RS1);
        let bed = Bed::new(&service("", &[RS1]));
        let (mut client, end) = pair(&listener);
        client
            .set_write_timeout(Some(Duration::from_millis(300)))
            .expect("set");
        let mut total = 0;
        let chunk = vec![7; 1 << 16];
        let stuck = loop {
            match client.write(&chunk) {
                Ok(n) => total += n,
                // A wait with a limit is not taken up again after a signal (signal(7)).
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => break error,
            }
            assert!(total < 64 << 20, "somebody swallows it all");
        };
        assert_eq!(stuck.kind(), ErrorKind::WouldBlock);
        let row = &bed.list()[0];
        assert!(row.bytes_in < total as u64);
        // And it goes on where it stopped.
        let mut end = end;
        assert_eq!(said(&mut end, total), vec![7; total]);
        client.write_all(b"more").expect("sent");
        assert_eq!(said(&mut end, 4), b"more");
    });
}

#[test]
fn another_real_is_tried_before_the_client_notices() {
    isolated(|| {
        let listener = real(RS2);
        // RS1 refuses, the other keeps silent.
        let bed = Bed::new(&service(
            "[service.proxy]\nconnect_timeout = \"300ms\"",
            &[RS1, RS2, "10.9.0.9:8080"],
        ));
        for _ in 0..6 {
            let (mut client, mut end) = pair(&listener);
            client.write_all(b"hello").expect("sent");
            assert_eq!(said(&mut end, 5), b"hello");
        }
        bed.wait_ended(Outcome::Ok, 6);
        bed.wait_empty();
    });
}

#[test]
fn after_one_real_that_refuses_and_one_that_is_silent_the_third_has_its_time() {
    isolated(|| {
        let listener = real(RS2);
        let bed = Bed::new(&service(
            "[service.proxy]\nconnect_timeout = \"300ms\"",
            &[RS1, "10.9.0.9:8080", RS2],
        ));
        for _ in 0..6 {
            let (mut client, mut end) = pair(&listener);
            client.write_all(b"hello").expect("sent");
            assert_eq!(said(&mut end, 5), b"hello");
        }
        bed.wait_ended(Outcome::Ok, 6);
        bed.wait_empty();
    });
}

#[test]
fn a_client_is_refused_when_all_tries_were_in_vain() {
    isolated(|| {
        let bed = Bed::new(&service("[service.proxy]\nretries = 5", &[RS1, RS2]));
        assert!(is_reset(&mut call()));
        bed.wait_ended(Outcome::ConnectFailed, 1);
        let mut bed = bed;
        bed.reload(&service(
            "[service.proxy]\nretries = 0\nconnect_timeout = \"200ms\"",
            &["10.9.0.9:8080"],
        ));
        assert!(is_reset(&mut call()));
        bed.wait_ended(Outcome::ConnectTimeout, 1);
        bed.down("10.9.0.9:8080");
        bed.reload(&service("min_healthy = 0", &["10.9.0.9:8080"]));
        assert!(is_reset(&mut call()));
        bed.wait_ended(Outcome::NoReal, 1);
        bed.wait_empty();
    });
}

/// T37
#[test]
fn t37_ports_serve_once_a_real_and_then_it_fails_fast() {
    isolated(|| {
        let range = "/proc/sys/net/ipv4/ip_local_port_range";
        let listeners = [real(RS1), real(RS2)];
        let bed = Bed::new(&service("", &[RS1, RS2]));
        // The client's own ports are not of this range.
        std::fs::write(range, "40000 40099").expect("this thread's namespace");
        let call = |n: u16| -> io::Result<TcpStream> {
            let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)
                .expect("a socket");
            let from = std::net::SocketAddr::new(CLIENT.parse().expect("one"), 10_000 + n);
            socket.bind(&from.into()).expect("bound");
            let vip: std::net::SocketAddr = VIP.parse().expect("one");
            socket.connect_timeout(&vip.into(), SOON)?;
            socket.set_read_timeout(Some(SOON))?;
            Ok(TcpStream::from(socket))
        };
        let clients: Vec<_> = (0..200).map(|n| call(n).expect("connected")).collect();
        let established = || {
            bed.list()
                .iter()
                .filter(|r| r.state == "established")
                .count()
        };
        assert!(until(|| established() == 200), "{}", established());
        let since = Instant::now();
        match call(200) {
            Ok(mut client) => assert!(is_reset(&mut client)),
            // The reset was quicker than we are.
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
        assert!(since.elapsed() < Duration::from_secs(1));
        bed.wait_ended(Outcome::NoPorts, 1);
        drop((clients, listeners));
    });
}

/// T39
#[test]
fn t39_nobody_is_connected_to_itself() {
    isolated(|| {
        let _listener = real(RS1);
        let bed = Bed::new(&service("", &[RS1]));
        let mut client = call_from("10.0.0.1", VIP).expect("connected");
        assert!(is_reset(&mut client));
        bed.wait_ended(Outcome::OwnAddress, 1);
    });
}

/// T39: a real that is a VIP of ours never gets as far as being dialled.
#[test]
fn t39_a_real_with_a_vip_of_ours_is_refused_with_the_file() {
    let other = "[[service]]\nname = \"other\"\nvip = \"192.0.2.11\"\nport = 80\nmode = \"tproxy\"\n\
                 [[service.real]]\naddress = \"10.0.0.3\"\n";
    let file = |real| service("", &[real]) + other;
    assert!(lbcore::config::parse(&file("10.0.0.4:80")).is_ok());
    for vip in ["192.0.2.10:80", "192.0.2.11:80", "192.0.2.11:8080"] {
        let faults = lbcore::config::parse(&file(vip)).expect_err("it calls itself");
        assert!(
            format!("{faults:?}").contains("is a VIP of this file"),
            "{faults:?}"
        );
    }
}

#[test]
fn the_real_is_told_the_client_before_everything_else() {
    isolated(|| {
        let listener = real(RS1);
        let toml = |how| {
            service(
                &format!("[service.proxy]\nsource = \"self\"\nsend_proxy = \"{how}\""),
                &[RS1],
            )
        };
        let mut bed = Bed::new(&toml("v1"));
        let (mut client, mut end) = pair(&listener);
        let port = client.local_addr().expect("bound").port();
        let line = format!("PROXY TCP4 198.51.100.7 192.0.2.10 {port} 80\r\n");
        // Alone if the client is silent: the real may be the one that speaks first.
        assert_eq!(said(&mut end, line.len()), line.as_bytes());
        client.write_all(b"hello").expect("sent");
        assert_eq!(said(&mut end, 5), b"hello");

        bed.reload(&toml("v2"));
        let (mut client, mut end) = pair(&listener);
        client.write_all(b"hello").expect("sent");
        let from = client.local_addr().expect("bound");
        let vip = VIP.parse().expect("an address");
        let header = lbcore::proxyproto::write_v2(from, vip, lbcore::net::Protocol::Tcp);
        assert_eq!(said(&mut end, header.len()), header.as_slice());
        assert_eq!(said(&mut end, 5), b"hello");
    });
}

/// What another balancer told of the client and what it dialled goes on to the real.
#[test]
fn what_a_trusted_balancer_told_is_passed_on() {
    isolated(|| {
        let listener = real(RS1);
        let extra = "[service.proxy]\nsource = \"self\"\nsend_proxy = \"v1\"\n\
                     accept_proxy = true\ntrusted_sources = [\"198.51.100.0/28\"]";
        let _bed = Bed::new(&service(extra, &[RS1]));
        let line = b"PROXY TCP4 203.0.113.77 192.0.2.99 4711 443\r\n";
        let mut client = call();
        client.write_all(line).expect("sent");
        client.write_all(b"hello").expect("sent");
        let mut end = accepted(&listener);
        assert_eq!(said(&mut end, line.len()), line);
        assert_eq!(said(&mut end, 5), b"hello");

        // A check of the balancer's own: its own connection is what counts.
        let mut client = call();
        client.write_all(b"PROXY UNKNOWN\r\n").expect("sent");
        let port = client.local_addr().expect("bound").port();
        let line = format!("PROXY TCP4 {CLIENT} 192.0.2.10 {port} 80\r\n");
        let mut end = accepted(&listener);
        assert_eq!(said(&mut end, line.len()), line.as_bytes());
    });
}

/// A real that cannot be dialled from the client's address must read it in a header, or not at all.
#[test]
fn a_client_of_the_other_family_is_told_by_header_or_let_go() {
    isolated(|| {
        let listener = real(RS1);
        let service = |send| {
            let extra = format!(
                "[service.proxy]\nsend_proxy = \"{send}\"\naccept_proxy = true\n\
                 trusted_sources = [\"198.51.100.0/28\"]"
            );
            service(&extra, &[RS1])
        };
        let line = b"PROXY TCP6 2001:db8:9::7 2001:db8:9::10 4711 443\r\n";
        let mut bed = Bed::new(&service("v1"));
        let mut client = call();
        client.write_all(line).expect("sent");
        let mut end = accepted(&listener);
        assert_eq!(said(&mut end, line.len()), line);
        drop((client, end));
        bed.wait_ended(Outcome::Ok, 1);

        bed.reload(&service("off"));
        let mut client = call();
        client.write_all(line).expect("sent");
        assert!(is_reset(&mut client));
        bed.wait_ended(Outcome::OtherFamily, 1);
        bed.wait_empty();
    });
}

#[test]
fn a_trusted_balancer_says_who_the_client_is() {
    isolated(|| {
        let listener = real(RS1);
        let bed = Bed::new(&service(
            "[service.proxy]\naccept_proxy = true\ntrusted_sources = [\"198.51.100.0/28\"]",
            &[RS1],
        ));
        // Byte by byte, with the first data behind it.
        let mut client = call();
        client.set_nodelay(true).expect("set");
        for byte in b"PROXY TCP4 198.51.100.77 192.0.2.10 4711 80\r\nhello" {
            client.write_all(&[*byte]).expect("sent");
            thread::yield_now();
        }
        let mut end = accepted(&listener);
        let seen = end.peer_addr().expect("connected").ip().to_string();
        assert_eq!(seen, "198.51.100.77");
        assert_eq!(said(&mut end, 5), b"hello");
        assert_eq!(bed.list()[0].client.to_string(), "198.51.100.77:4711");
        end.write_all(b"answer").expect("sent");
        assert_eq!(said(&mut client, 6), b"answer");
        drop((client, end));
        bed.wait_ended(Outcome::Ok, 1);

        let mut stranger = call_from("198.51.100.99", VIP).expect("connected");
        assert!(is_reset(&mut stranger));
        bed.wait_ended(Outcome::Untrusted, 1);

        let mut client = call();
        client.write_all(b"GET / HTTP/1.0\r\n\r\n").expect("sent");
        assert!(is_reset(&mut client));
        bed.wait_ended(Outcome::BadHeader, 1);

        let mut silent = call();
        assert!(is_reset(&mut silent), "after a while");
        bed.wait_ended(Outcome::BadHeader, 2);
        bed.wait_empty();
    });
}

#[test]
fn callers_wait_in_the_queue_where_a_service_or_a_real_has_no_room() {
    isolated(|| {
        let listener = real(RS1);
        let bounds = [
            service("[service.proxy]\nmax_connections = 2", &[RS1]),
            service("", &[RS1]) + "max_connections = 2\n",
        ];
        for toml in bounds {
            let bed = Bed::new(&toml);
            let (first, second) = (pair(&listener), pair(&listener));
            let mut third = call();
            third.write_all(b"patience").expect("sent");
            let open = || bed.list().iter().filter(|r| r.server.is_some()).count();
            thread::park_timeout(Duration::from_millis(250));
            assert_eq!(open(), 2);
            listener.set_nonblocking(true).expect("set");
            let nobody = listener.accept().expect_err("nobody");
            assert_eq!(nobody.kind(), ErrorKind::WouldBlock);
            listener.set_nonblocking(false).expect("set");
            let since = Instant::now();
            drop(first);
            let mut end = accepted(&listener);
            assert_eq!(said(&mut end, 8), b"patience");
            assert!(since.elapsed() < Duration::from_millis(500));
            drop((second, third, end));
            bed.wait_ended(Outcome::Ok, 3);
            bed.wait_empty();
        }
    });
}

#[test]
fn one_client_has_no_more_than_its_share() {
    isolated(|| {
        let listener = real(RS1);
        let bed = Bed::new(&service(
            "[service.proxy]\nmax_connections_per_source = 2",
            &[RS1],
        ));
        let (first, _second) = (pair(&listener), pair(&listener));
        assert!(is_reset(&mut call()));
        bed.wait_ended(Outcome::PerSource, 1);
        let other = call_from("198.51.100.8", VIP).expect("connected");
        drop((other, accepted(&listener)));
        drop(first);
        bed.wait_ended(Outcome::Ok, 2);
        drop(pair(&listener));
        bed.wait_ended(Outcome::Ok, 3);
    });
}

/// T41: the budget, and that waiting for it is no busy loop.
#[test]
fn t41_without_descriptors_callers_wait() {
    isolated(|| {
        let listener = real(RS1);
        let bed = Bed::within(&service("", &[RS1]), 2, Budget::new(8));
        let pairs: Vec<_> = (0..4).map(|_| pair(&listener)).collect();
        let waiting: Vec<_> = (0..20).map(|_| call()).collect();
        let before = cpu_time();
        thread::park_timeout(Duration::from_millis(500));
        let used = cpu_time() - before;
        assert!(used < Duration::from_millis(100), "{used:?} of 500 ms");
        assert_eq!(bed.list().len(), 4);
        drop(pairs);
        let since = Instant::now();
        drop((0..4).map(|_| accepted(&listener)).collect::<Vec<_>>());
        assert!(since.elapsed() < Duration::from_secs(1));
        drop(waiting);
        (4..20).for_each(|_| drop(accepted(&listener)));
        bed.wait_ended(Outcome::Ok, 24);
        bed.wait_empty();
    });
}

/// Of the workers in this namespace: other tests have theirs.
fn cpu_time() -> Duration {
    let here = std::fs::read_link("/proc/thread-self/ns/net").expect("procfs");
    let tasks = std::fs::read_dir("/proc/self/task").expect("procfs");
    let ticks = tasks.flatten().filter_map(|task| {
        let path = task.path();
        let ours = std::fs::read_link(path.join("ns/net")).is_ok_and(|ns| ns == here);
        let stat = std::fs::read_to_string(path.join("stat")).ok()?;
        let (name, fields) = stat.rsplit_once(')')?;
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let used = |at: usize| fields[at].parse::<u64>().unwrap_or(0);
        (ours && name.contains("lbd-p")).then(|| used(11) + used(12))
    });
    Duration::from_millis(ticks.sum::<u64>() * 10)
}

#[test]
fn connections_of_a_dead_real_are_reset_and_others_stay() {
    isolated(|| {
        let listeners = [real(RS1), real(RS2)];
        let toml = |reals: &[&str]| service("dead_grace = \"0s\"", reals);
        let mut bed = Bed::new(&toml(&[RS1, RS2]));
        let mut clients = [call(), call()];
        let mut ends = listeners.each_ref().map(accepted);
        // Which client is whose?
        for (at, end) in ends.iter_mut().enumerate() {
            end.write_all(&[at as u8]).expect("sent");
        }
        clients.sort_by_key(|mut c| {
            let mut told = [0];
            c.read_exact(&mut told).expect("told");
            told
        });
        bed.down(RS1);
        assert!(is_reset(&mut clients[0]));
        bed.wait_ended(Outcome::RealGone, 1);
        clients[1].write_all(b"still here").expect("sent");
        assert_eq!(said(&mut ends[1], 10), b"still here");
    });
}

#[test]
fn who_is_being_connected_to_a_real_that_dies_goes_to_another() {
    isolated(|| {
        let silent = "10.9.0.9:8080";
        let toml = |reals: &[&str]| {
            let extra =
                "dead_grace = \"0s\"\n[service.proxy]\nretries = 0\nconnect_timeout = \"60s\"";
            service(extra, reals)
        };
        let listener = real(RS1);
        let mut bed = Bed::new(&toml(&[silent, RS1]));
        let mut clients = [call(), call()];
        let mut ends = vec![accepted(&listener)];
        assert!(until(|| bed.list().iter().any(|c| c.state == "connecting")));
        bed.down(silent);
        ends.push(accepted(&listener));
        for client in &mut clients {
            client.write_all(b"hello").expect("sent");
        }
        for end in &mut ends {
            assert_eq!(said(end, 5), b"hello");
        }
        drop((clients, ends));
        bed.wait_ended(Outcome::Ok, 2);
        bed.wait_empty();
    });
}

#[test]
fn idle_connections_end() {
    isolated(|| {
        let listener = real(RS1);
        let bed = Bed::new(&service("idle_timeout = \"1s\"", &[RS1]));
        let (mut client, mut end) = pair(&listener);
        assert!(is_reset(&mut client) && is_reset(&mut end));
        bed.wait_ended(Outcome::Idle, 1);
        bed.wait_empty();
    });
}

#[test]
fn finishing_waits_and_then_resets() {
    isolated(|| {
        let listener = real(RS1);
        let mut bed = Bed::new(&service("", &[RS1]));
        let (mut client, mut end) = pair(&listener);
        let (mut late, _late_end) = pair(&listener);
        let talk = thread::spawn(move || {
            assert!(until(|| call_from(CLIENT, VIP).is_err()), "nobody listens");
            client.write_all(b"goodbye").expect("sent");
            assert_eq!(said(&mut end, 7), b"goodbye");
        });
        let since = Instant::now();
        bed.finish(Duration::from_secs(1));
        assert!(since.elapsed() >= Duration::from_secs(1));
        assert!(is_reset(&mut late));
        talk.join().expect("it talked on");
        assert!(bed.ended(Outcome::Shutdown) >= 1);
        assert_eq!(bed.budget.descriptors().taken(), 0);
    });
}

#[test]
fn what_is_taken_off_the_plan_is_refused_and_a_taken_address_is_told_and_retried() {
    isolated(|| {
        let mut bed = Bed::new(&service("", &[RS1]));
        let taken = TcpListener::bind("192.0.2.11:80").expect("bound");
        let other = "[[service]]\nname = \"web\"\nvip = \"192.0.2.11\"\nport = 80\nmode = \"tproxy\"\n\
                     [[service.real]]\naddress = \"10.0.0.1\"\nport = 8080\n";
        bed.reload(other);
        let refused = call_from(CLIENT, VIP).expect_err("nobody listens");
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        let trouble = bed.state.borrow().trouble.clone();
        assert_eq!(trouble.len(), 1, "{trouble:?}");
        assert!(
            trouble[0].starts_with("192.0.2.11:80/tcp: Address"),
            "{trouble:?}"
        );
        drop(taken);
        let state = bed.state.clone();
        assert!(until(|| state.borrow().trouble.is_empty()), "tried again");
        let listener = real(RS1);
        let _client = call_from(CLIENT, "192.0.2.11:80").expect("connected");
        accepted(&listener);
    });
}

/// Waves of connections that end in every way leave nothing behind.
#[test]
fn t43_waves_leave_nothing_behind() {
    isolated(|| {
        let listener = real(RS1);
        listener.set_nonblocking(true).expect("set");
        let bed = Bed::new(&service("", &[RS1]));
        let before = held_sockets();
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut served = 0;
                while !done.load(Relaxed) {
                    match listener.accept() {
                        Ok((end, _)) => {
                            serve(end, served);
                            served += 1;
                        }
                        Err(_) => thread::park_timeout(Duration::from_millis(1)),
                    }
                }
            });
            for wave in 0..6 {
                let mut clients: Vec<_> = (0..200).map(|_| call()).collect();
                for (n, client) in clients.iter_mut().enumerate() {
                    let _ = client.write_all(&vec![n as u8; (n * 37 + wave * 1000) % 9000]);
                    if n % 3 == 0 {
                        let _ = client.shutdown(Shutdown::Write);
                    }
                }
                for (n, client) in clients.into_iter().enumerate() {
                    if n % 5 == 0 {
                        reset(client);
                    }
                }
            }
            bed.wait_empty();
            done.store(true, Relaxed);
        });
        assert!(
            until(|| held_sockets() <= before),
            "{before} before, {} now",
            held_sockets()
        );
        let ended: u64 = Outcome::ALL.iter().map(|o| bed.ended(*o)).sum();
        assert_eq!(ended, 1200);
    });
}

/// One of four ways to end.
fn serve(mut end: TcpStream, n: usize) {
    end.set_nonblocking(false).expect("set");
    end.set_read_timeout(Some(SOON)).expect("set");
    match n % 4 {
        0 => reset(end),
        1 => drop(end),
        2 => {
            let _ = end.write_all(b"hello");
            let _ = end.shutdown(Shutdown::Write);
            let _ = io::copy(&mut end, &mut io::sink());
        }
        _ => {
            let _ = io::copy(&mut end, &mut io::sink());
            let _ = end.write_all(b"bye");
        }
    }
}

/// Connections of this namespace that somebody still holds: other tests have descriptors of their
/// own in this process.
fn held_sockets() -> usize {
    let tcp = std::fs::read_to_string("/proc/thread-self/net/tcp").expect("procfs");
    // ESTABLISHED and CLOSE_WAIT.
    let held = |line: &&str| matches!(line.split_whitespace().nth(3), Some("01" | "08"));
    tcp.lines().filter(held).count()
}
