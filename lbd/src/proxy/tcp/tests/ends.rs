//! What ends connections, and that nothing stays behind.

use super::*;

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
