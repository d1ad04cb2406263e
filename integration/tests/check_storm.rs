//! Checks in want of everything: what they cost the traffic.

use integration::conf::{Conf, RealConf, ServiceConf};
use integration::daemon::Daemon;
use integration::frames::Headers;
use integration::load::Load;
use integration::stage::PORT;
use integration::tally::Tally;
use integration::topology::{CLIENT, Wire};
use integration::{figure, isolated_within, wait_until};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

/// Frames a second.
const RATE: u32 = 20_000;

/// How long a run with and one without the storm take.
const RUN: Duration = Duration::from_secs(10);

/// What is not back so long after a run is lost.
const LATE: Duration = Duration::from_secs(5);

/// Targets that swallow every SYN, behind the generator, which forwards nothing.
const TARGETS: u16 = 1000;

fn traffic() -> Vec<Vec<u8>> {
    (10_000..10_500)
        .map(|port| Headers::v4(port, PORT).tcp("PA", 2, b"data"))
        .collect()
}

/// `web` in direct routing, and beside it a service of nothing but black holes.
fn storm() -> Conf {
    let check = [
        ("type", "\"tcp\""),
        ("interval", "\"1s\""),
        ("timeout", "\"500ms\""),
    ];
    let mut holes = ServiceConf::proxied("holes", 81).check(&check);
    for n in 0..TARGETS {
        let address = Ipv4Addr::new(198, 18, (n / 250) as u8, (n % 250) as u8 + 1);
        holes = holes.real(RealConf::new(&format!("hole{n}"), address).dialled_at(80));
    }
    quiet().service(holes)
}

fn quiet() -> Conf {
    Conf::one(ServiceConf::tcp("web", PORT).pinned_reals(1..=4))
}

/// T35: a thousand black holes under 256 descriptors cost the traffic no frame, and no target goes
/// down for want of a descriptor of ours.
#[test]
fn t35_a_storm_of_checks_without_descriptors_loses_no_frame() {
    isolated_within(Duration::from_secs(120), || {
        let wire = Wire::new();
        wire.lb.ip(&format!("route add 198.18.0.0/15 via {CLIENT}"));
        let mut lbd = Daemon::prepare(&wire.lb, &quiet());
        lbd.limit_descriptors(256);
        lbd.spawn();
        lbd.wait_ready();
        let tally = Tally::of_reals(&wire.generator, 4);
        let lost = || {
            let before = tally.total();
            let load = Load::start(&wire.generator, traffic(), RATE);
            let start = Instant::now();
            wait_until("the run is over", RUN * 3, || start.elapsed() >= RUN);
            let sent = load.stop();
            let start = Instant::now();
            wait_until("all are back, or lost", LATE * 2, || {
                tally.total() >= before + sent || start.elapsed() >= LATE
            });
            (sent, sent - (tally.settled() - before))
        };
        let (_, baseline) = lost();
        lbd.reload(&storm());
        let (sent, lost) = lost();
        figure(
            "T35 lost in 10 s at 20,000 frames/s beside 1,000 black holes",
            format!("{lost} of {sent}, {baseline} without them"),
        );
        assert!(lost <= baseline, "{lost} lost, {baseline} without checks");
        let holes = &lbd.service("holes")["reals"];
        let down: Vec<_> = holes
            .as_array()
            .expect("reals")
            .iter()
            .filter(|real| real["state"] == "down")
            .collect();
        assert!(!down.is_empty(), "black holes are found");
        for real in down {
            let reason = real["reason"].as_str().expect("a reason");
            assert!(reason.contains("no answer"), "{reason}");
        }
    });
}
