//! When sessions begin and end, and when none can.

use super::*;

#[test]
fn sessions_end_when_silent_and_leave_nothing() {
    let Some(net) = net() else {
        return;
    };
    let (vip, from, reals) = V4;
    let extra = "idle_timeout = \"2s\"";
    let bed = bed(&net, 2, 1000, toml(vip, extra, "", &reals));
    let real = reals.map(|real| socket(&net.reals, at(real, 53)));
    for n in 0..20 {
        let client = client(&net, at(from, 40_000 + n), vip);
        client.send(b"once").expect("sent");
    }
    for real in &real {
        for _ in 0..10 {
            receive(real);
        }
    }
    assert_eq!(bed.list().len(), 20, "rr: ten each");
    bed.wait_ended(Outcome::Idle, 20);
    bed.wait_empty();
    accounts_close(&bed);
}

#[test]
fn sessions_of_a_dead_real_go_to_another_or_nowhere() {
    let Some(net) = net() else {
        return;
    };
    let (vip, from, reals) = V4;
    for on_dead in ["rehash", "drop", "keep"] {
        let extra = format!("dead_grace = \"0s\"\non_dead = \"{on_dead}\"");
        let mut bed = bed(&net, 1, 1000, toml(vip, &extra, "", &reals));
        let real = reals.map(|real| socket(&net.reals, at(real, 53)));
        let client = client(&net, at(from, 40_000), vip);
        client.send(b"first").expect("sent");
        assert!(until(|| bed.list().len() == 1));
        let first = bed.list()[0].server.expect("dialled");
        let (mine, other) = if first == at(reals[0], 53) {
            (0, 1)
        } else {
            (1, 0)
        };
        receive(&real[mine]);
        bed.down(reals[mine]);
        match on_dead {
            "rehash" => {
                bed.wait_ended(Outcome::RealGone, 1);
                client.send(b"second").expect("sent");
                assert_eq!(
                    receive(&real[other]),
                    (b"second".to_vec(), at(from, 40_000))
                );
            }
            "drop" => {
                client.send(b"second").expect("sent");
                assert!(until(|| drops(&bed, DatagramDrop::DeadReal) == 1));
            }
            _ => {
                client.send(b"second").expect("sent");
                assert_eq!(receive(&real[mine]).0, b"second");
            }
        }
        accounts_close(&bed);
    }
}

#[test]
fn a_reload_keeps_sessions_and_a_removed_service_ends_them() {
    let Some(net) = net() else {
        return;
    };
    let (vip, from, reals) = V4;
    let mut bed = bed(&net, 2, 1000, toml(vip, "", "", &reals[..1]));
    let real = socket(&net.reals, at(reals[0], 53));
    let client = client(&net, at(from, 40_000), vip);
    client.send(b"first").expect("sent");
    let (_, seen) = receive(&real);
    bed.reload(&toml(vip, "idle_timeout = \"1m\"", "", &reals));
    real.send_to(b"late", seen).expect("sent");
    assert_eq!(receive(&client).0, b"late");
    client.send(b"second").expect("sent");
    assert_eq!(receive(&real).0, b"second");
    assert_eq!(bed.ended(Outcome::RealGone), 0);
    let other = toml("192.0.2.11", "", "", &reals);
    bed.reload(&other.replace("\"dns\"", "\"other\""));
    bed.wait_empty();
    accounts_close(&bed);
}

#[test]
fn a_socket_that_cannot_be_had_is_named_and_tried_again() {
    let Some(net) = net() else {
        return;
    };
    let (vip, from, reals) = V4;
    let taken = net.lb.run(move || {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).expect("a socket");
        socket.set_ip_transparent_v4(true).expect("set");
        socket.bind(&at(vip, 53).into()).expect("bound");
        socket
    });
    let bed = bed(&net, 2, 1000, toml(vip, "", "", &reals[..1]));
    let trouble = bed.state.borrow().trouble.clone();
    assert_eq!(trouble.len(), 1, "{trouble:?}");
    assert!(
        trouble[0].starts_with("192.0.2.10:53/udp: Address already in use"),
        "{trouble:?}"
    );
    drop(taken);
    assert!(until(|| bed.state.borrow().trouble.is_empty()));
    let real = socket(&net.reals, at(reals[0], 53));
    let client = client(&net, at(from, 40_000), vip);
    client.send(b"now").expect("sent");
    assert_eq!(receive(&real).0, b"now");
}

#[test]
fn nobody_serves_and_nobody_is_asked() {
    let Some(net) = net() else {
        return;
    };
    let (vip, from, reals) = V4;
    let mut bed = bed(&net, 1, 1000, toml(vip, "min_healthy = 0", "", &reals[..1]));
    bed.down(reals[0]);
    let client = client(&net, at(from, 40_000), vip);
    client.send(b"anybody?").expect("sent");
    assert!(until(|| drops(&bed, DatagramDrop::NoReal) == 1));
    assert_eq!(bed.ended(Outcome::NoReal), 1);
    bed.wait_empty();
    accounts_close(&bed);
}
