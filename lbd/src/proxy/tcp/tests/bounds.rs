//! Who waits, and who is refused, where there is no room.

use super::*;

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
