//! Bytes, ends and resets go on as they came.

use super::*;

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
