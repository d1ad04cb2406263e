//! Datagrams and refusals, both ways.

use super::*;

#[test]
fn t36_the_real_sees_the_client_and_the_client_the_vip() {
    let Some(net) = net() else {
        return;
    };
    for (vip, from, reals) in FAMILIES {
        let bed = bed(&net, 2, 1000, toml(vip, "", "", &reals[..1]));
        let real = socket(&net.reals, at(reals[0], 53));
        let client = client(&net, at(from, 40_000), vip);
        let longest = if from.contains(':') { 65_487 } else { 65_507 };
        for length in [0, 1, 1200, 1472, 9000, longest] {
            let sent: Vec<u8> = (0..length).map(|n| (n * 7) as u8).collect();
            client.send(&sent).expect("sent");
            let (got, seen) = receive(&real);
            assert_eq!(seen, at(from, 40_000), "the client's own address and port");
            assert!(got == sent, "{length} bytes to the real");
            real.send_to(&sent, seen).expect("sent");
            let (got, seen) = receive(&client);
            assert_eq!(seen, at(vip, 53));
            assert!(got == sent, "{length} bytes to the client");
        }
        let rows = bed.list();
        assert_eq!(rows.len(), 1);
        let row = &rows[0];
        assert_eq!(row.client, at(from, 40_000));
        assert_eq!(row.server, Some(at(reals[0], 53)));
        assert_eq!(row.state, "established");
        let bytes = 1 + 1200 + 1472 + 9000 + longest as u64;
        assert!(until(|| bed.list()[0].bytes_out == bytes), "{row:?}");
        assert_eq!(bed.list()[0].bytes_in, bytes);
        accounts_close(&bed);
        assert_eq!(way(&bed, Way::ToReal), (6, 6, 0, 0));
        assert_eq!(way(&bed, Way::ToClient), (6, 6, 0, 0));
    }
}

#[test]
fn what_comes_as_one_goes_as_one_and_arrives_in_order() {
    let Some(net) = net() else {
        return;
    };
    for proxy in ["", "send_proxy = \"v2\""] {
        let (vip, from, reals) = V4;
        let bed = bed(&net, 1, 1000, toml(vip, "", proxy, &reals[..1]));
        let real = socket(&net.reals, at(reals[0], 53));
        let client = client(&net, at(from, 40_000), vip);
        let bytes: Vec<u8> = (0..50u8).flat_map(|n| vec![n; 1000]).collect();
        let joined = Outgoing {
            to: None,
            head: &[],
            bytes: &bytes,
            segment: 1000,
        };
        let mut outbox = Outbox::default();
        outbox.send(client.as_fd(), std::iter::once(joined), |refused| {
            panic!("{refused:?}")
        });
        for n in 0..50u8 {
            let (got, seen) = receive(&real);
            let payload = match proxyproto::read(&got, lbcore::net::Protocol::Udp) {
                Ok(Reading::Done { header_len, told }) if !proxy.is_empty() => {
                    let says = Told::Addresses {
                        client: at(from, 40_000),
                        destination: at(vip, 53),
                    };
                    assert_eq!(told, says);
                    &got[header_len..]
                }
                _ => &got[..],
            };
            assert!(payload == vec![n; 1000], "datagram {n}: {payload:?}");
            real.send_to(payload, seen).expect("sent");
        }
        for n in 0..50u8 {
            assert!(receive(&client).0 == vec![n; 1000], "answer {n}");
        }
        accounts_close(&bed);
        assert_eq!(way(&bed, Way::ToReal).1, 50);
        assert_eq!(way(&bed, Way::ToClient).1, 50);
    }
}

#[test]
fn our_own_address_where_that_is_wanted_and_another_port_where_the_clients_is_taken() {
    let Some(net) = net() else {
        return;
    };
    for (vip, from, reals) in FAMILIES {
        let own = "source = \"self\"";
        let bed_of_own = bed(&net, 1, 1000, toml(vip, "", own, &reals[..1]));
        let real = socket(&net.reals, at(reals[0], 53));
        let client = client(&net, at(from, 40_000), vip);
        client.send(b"who").expect("sent");
        let (_, seen) = receive(&real);
        let ours: [IpAddr; 2] = ["172.16.2.1", "fd00:2::1"].map(|a| a.parse().expect("an address"));
        assert!(ours.contains(&seen.ip()), "{seen}");
        drop(bed_of_own);

        let bed = bed(&net, 1, 1000, toml(vip, "", "", &reals[..1]));
        let _taken = net.lb.run(move || {
            crate::sys::transparent::udp_from(at(from, 40_000)).expect("nobody has it yet")
        });
        client.send(b"who").expect("sent");
        let (_, seen) = receive(&real);
        assert_eq!(seen.ip(), at(from, 0).ip());
        assert_ne!(seen.port(), 40_000);
        real.send_to(b"you", seen).expect("sent");
        assert_eq!(receive(&client).0, b"you");
        accounts_close(&bed);
    }
}

#[test]
fn t36_a_real_that_refuses_is_heard_by_the_client() {
    let Some(net) = net() else {
        return;
    };
    for (vip, from, reals) in FAMILIES {
        let bed = bed(&net, 1, 1000, toml(vip, "", "", &reals[..1]));
        let client = client(&net, at(from, 40_000), vip);
        is_refused(&client);
        assert!(until(|| bed.ended(Outcome::ConnectFailed) > 0));
        // A server that comes back is found at once, and one that goes again is told of, too.
        let real = socket(&net.reals, at(reals[0], 53));
        client.send(b"now?").expect("sent");
        let (_, seen) = receive(&real);
        real.send_to(b"yes", seen).expect("sent");
        assert_eq!(receive(&client).0, b"yes");
        drop(real);
        is_refused(&client);
        bed.wait_ended(Outcome::RealReset, 1);
        bed.wait_empty();
        accounts_close(&bed);
    }
}

/// The kernel tells the refusal first, whatever was answered before it.
#[test]
fn what_a_real_answered_before_it_refused_arrives() {
    let Some(net) = net() else {
        return;
    };
    let (vip, from, reals) = V4;
    let bed = bed(&net, 1, 1000, toml(vip, "", "", &reals[..1]));
    let client = client(&net, at(from, 40_000), vip);
    for round in 1..=50 {
        let real = socket(&net.reals, at(reals[0], 53));
        client.send(b"first").expect("sent");
        let (_, seen) = receive(&real);
        real.send_to(b"last words", seen).expect("sent");
        drop(real);
        // The refusal may be told to this socket's next call, whichever that is.
        let _ = client.send(b"second");
        let mut room = [0; 16];
        let heard = until(|| {
            client
                .recv(&mut room)
                .is_ok_and(|n| &room[..n] == b"last words")
        });
        assert!(heard, "round {round}");
        is_refused(&client);
    }
    accounts_close(&bed);
}

#[test]
fn refusals_are_so_many_a_second() {
    let Some(net) = net() else {
        return;
    };
    let (vip, from, reals) = V4;
    let bed = bed(&net, 1, 2000, toml(vip, "", "", &reals[..1]));
    // The reals' host itself sends so many only; here it is to say all.
    net.reals.run(|| {
        for key in ["icmp_ratelimit", "icmp_ratemask"] {
            std::fs::write(format!("/proc/sys/net/ipv4/{key}"), "0").expect("this namespace's");
        }
    });
    let clients: Vec<_> = (0..600u16)
        .map(|n| client(&net, at(from, 20_000 + n), vip))
        .collect();
    let begun = Instant::now();
    // As many at once as a socket's buffer holds.
    for (nth, crowd) in (1..).zip(clients.chunks(100)) {
        for client in crowd {
            client.send(b"anybody?").expect("sent");
        }
        bed.wait_ended(Outcome::ConnectFailed, nth * 100);
    }
    let seconds = begun.elapsed().as_secs() as usize + 2;
    let told = |client: &&UdpSocket| {
        client.set_nonblocking(true).expect("set");
        let error = client.recv(&mut [0; 16]).expect_err("nobody");
        error.kind() == ErrorKind::ConnectionRefused
    };
    let heard = clients.iter().filter(told).count();
    assert!(
        heard > 0 && heard <= 200 * seconds,
        "{heard} in {seconds} s"
    );
}
