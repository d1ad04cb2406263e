//! Which real is dialled, from which address, and what follows when that fails.

use super::*;

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

/// Of these reals only RS2 answers: RS1 refuses, the other keeps silent. Clients notice nothing.
fn all_reach_rs2(reals: &[&str]) {
    let listener = real(RS2);
    let bed = Bed::new(&service(
        "[service.proxy]\nconnect_timeout = \"300ms\"",
        reals,
    ));
    for _ in 0..6 {
        let (mut client, mut end) = pair(&listener);
        client.write_all(b"hello").expect("sent");
        assert_eq!(said(&mut end, 5), b"hello");
    }
    bed.wait_ended(Outcome::Ok, 6);
    bed.wait_empty();
}

#[test]
fn another_real_is_tried_before_the_client_notices() {
    isolated(|| all_reach_rs2(&[RS1, RS2, "10.9.0.9:8080"]));
}

#[test]
fn after_one_real_that_refuses_and_one_that_is_silent_the_third_has_its_time() {
    isolated(|| all_reach_rs2(&[RS1, "10.9.0.9:8080", RS2]));
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
