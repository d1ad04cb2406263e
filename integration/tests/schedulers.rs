//! How new flows are spread by each scheduler.

use integration::conf::{Conf, RealConf, ServiceConf};
use integration::daemon::Daemon;
use integration::frames::Headers;
use integration::isolated_within;
use integration::stage::PORT;
use integration::tally::Tally;
use integration::topology::Wire;
use integration::wait_until;
use integration::wire::RawSocket;
use std::time::Duration;

/// New flows each scheduler gets.
const FLOWS: u16 = 600;

/// Weights of the three reals.
const WEIGHTS: [u64; 3] = [1, 2, 3];

fn conf(scheduler: &str) -> Conf {
    let service = ServiceConf::tcp("web", PORT).with("scheduler", &format!("\"{scheduler}\""));
    let service = (1..=3).zip(WEIGHTS).fold(service, |service, (n, weight)| {
        service.real(RealConf::n(n).pinned(n).with("weight", &weight.to_string()))
    });
    // One worker: each keeps a cursor of its own, and exact shares need one cursor.
    Conf::one(service).network("workers", "1")
}

#[test]
fn t14_each_scheduler_spreads_as_it_says() {
    isolated_within(Duration::from_secs(90), || {
        let wire = Wire::new();
        let lbd = Daemon::start(&wire.lb, &conf("rr"));
        let socket = RawSocket::open(&wire.generator);
        let tally = Tally::of_reals(&wire.generator, 3);
        let mut port = 1_000;
        for (scheduler, expected, tolerance) in [
            ("rr", [200, 200, 200], 1),
            ("wrr", [100, 200, 300], 2),
            // Flows that never end: least-connections evens out, with and without weights.
            ("lc", [200, 200, 200], 2),
            ("wlc", [100, 200, 300], 4),
            // Six standard deviations of fair draws.
            ("maglev", [100, 200, 300], 72),
        ] {
            lbd.reload(&conf(scheduler));
            let before = ["rs1", "rs2", "rs3"].map(|name| tally.of(name));
            let counted = lbd.service("web")["reals"].clone();
            for burst in 0..FLOWS / 50 {
                let goal = tally.total() + 50;
                for index in 0..50 {
                    let headers = Headers::v4(port + burst * 50 + index, PORT);
                    socket.send(&headers.tcp("S", 1, b"")).expect("sent");
                }
                wait_until("they came back", Duration::from_secs(5), || {
                    tally.total() >= goal
                });
            }
            port += FLOWS;
            let after = ["rs1", "rs2", "rs3"].map(|name| tally.of(name));
            let got = [0, 1, 2].map(|index| after[index] - before[index]);
            // What least-connections levels is the total, not the share of one round.
            let flows = |index: usize| counted[index]["flows"].as_u64().expect("flows");
            for index in 0..3 {
                let (got, expected) = match scheduler {
                    "lc" | "wlc" => {
                        let all = flows(0) + flows(1) + flows(2) + u64::from(FLOWS);
                        let weights: u64 = WEIGHTS.iter().sum();
                        let share = match scheduler {
                            "lc" => all / 3,
                            _ => all * WEIGHTS[index] / weights,
                        };
                        (got[index] + flows(index), share)
                    }
                    _ => (got[index], expected[index]),
                };
                assert!(
                    got.abs_diff(expected) <= tolerance,
                    "{scheduler}: rs{} has {got}, expected {expected} ± {tolerance}",
                    index + 1
                );
            }
        }
        // sh: one client, one real, whatever its port.
        lbd.reload(&conf("sh"));
        for client in 1..=20u8 {
            let before = ["rs1", "rs2", "rs3"].map(|name| tally.of(name));
            for port in 0..5 {
                let mut headers = Headers::v4(20_000 + port, PORT);
                headers.src = std::net::Ipv4Addr::new(198, 51, 100, client).into();
                socket.send(&headers.tcp("S", 1, b"")).expect("sent");
            }
            let goal: u64 = before.iter().sum::<u64>() + 5;
            wait_until("they came back", Duration::from_secs(5), || {
                tally.total() >= goal
            });
            let after = ["rs1", "rs2", "rs3"].map(|name| tally.of(name));
            let used = before
                .iter()
                .zip(after)
                .filter(|(before, after)| *before != after)
                .count();
            assert_eq!(used, 1, "client {client} is split over {used} reals");
        }
    });
}
