//! How new flows are spread by each scheduler.

use integration::conf::{Conf, RealConf, ServiceConf};
use integration::daemon::Daemon;
use integration::frames::Headers;
use integration::isolated_within;
use integration::tally::Tally;
use integration::topology::Wire;
use integration::wait_until;
use integration::wire::RawSocket;
use std::time::Duration;

/// New flows each scheduler gets.
const FLOWS: u16 = 600;

/// Weights of the three reals.
const WEIGHTS: [u64; 3] = [1, 2, 3];

/// The schedulers, each with a service of its own: least-connections counts what is there.
const SCHEDULERS: [(&str, u16); 6] = [
    ("rr", 81),
    ("wrr", 82),
    ("lc", 83),
    ("wlc", 84),
    ("maglev", 85),
    ("sh", 86),
];

fn conf() -> Conf {
    let services = SCHEDULERS
        .iter()
        .fold(Conf::default(), |conf, (scheduler, port)| {
            let service =
                ServiceConf::tcp(scheduler, *port).with("scheduler", &format!("\"{scheduler}\""));
            conf.service((1..=3).zip(WEIGHTS).fold(service, |service, (n, weight)| {
                service.real(RealConf::n(n).pinned(n).with("weight", &weight.to_string()))
            }))
        });
    // One worker: each keeps a cursor of its own, and exact shares need one cursor.
    services.network("workers", "1")
}

fn counts(tally: &Tally) -> [u64; 3] {
    ["rs1", "rs2", "rs3"].map(|name| tally.of(name))
}

/// Sends frames and returns how many more each real got.
fn spread(socket: &RawSocket, tally: &Tally, frames: &[Vec<u8>]) -> [u64; 3] {
    let before = counts(tally);
    for burst in frames.chunks(50) {
        let goal = tally.total() + burst.len() as u64;
        burst
            .iter()
            .for_each(|frame| socket.send(frame).expect("sent"));
        wait_until("they came back", Duration::from_secs(5), || {
            tally.total() >= goal
        });
    }
    let after = counts(tally);
    [0, 1, 2].map(|index| after[index] - before[index])
}

#[test]
fn t14_each_scheduler_spreads_as_it_says() {
    isolated_within(Duration::from_secs(60), || {
        let wire = Wire::new();
        let _lbd = Daemon::start(&wire.lb, &conf());
        let socket = RawSocket::open(&wire.generator);
        let tally = Tally::of_reals(&wire.generator, 3);
        for (scheduler, expected, tolerance) in [
            ("rr", [200, 200, 200], 1),
            ("wrr", [100, 200, 300], 1),
            // Flows that never end: least-connections evens out what they add.
            ("lc", [200, 200, 200], 2),
            ("wlc", [100, 200, 300], 4),
            // Six standard deviations of fair draws.
            ("maglev", [100, 200, 300], 72),
        ] {
            let port = SCHEDULERS
                .iter()
                .find(|(name, _)| *name == scheduler)
                .map(|(_, port)| *port);
            let port = port.expect("a service");
            let syns: Vec<_> = (1_000..1_000 + FLOWS)
                .map(|client| Headers::v4(client, port).tcp("S", 1, b""))
                .collect();
            let got = spread(&socket, &tally, &syns);
            for (got, expected) in got.iter().zip(expected) {
                assert!(
                    got.abs_diff(expected) <= tolerance,
                    "{scheduler}: {got:?}, expected {expected:?} ± {tolerance}"
                );
            }
        }
        // sh: one client, one real, whatever its port.
        for client in 1..=20u8 {
            let syns: Vec<_> = (20_000..20_005)
                .map(|port| {
                    let src = std::net::Ipv4Addr::new(198, 51, 100, client).into();
                    Headers {
                        src,
                        ..Headers::v4(port, 86)
                    }
                    .tcp("S", 1, b"")
                })
                .collect();
            let got = spread(&socket, &tally, &syns);
            assert!(got.contains(&5), "client {client} is split: {got:?}");
        }
    });
}
