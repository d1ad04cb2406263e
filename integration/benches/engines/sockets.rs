//! Engines in user space: what they carry, and what they add to the way of a single frame.

use crate::echo::Echo;
use crate::figures::quantile;
use crate::lbd::{Engine, Lbd, Setup};
use crate::plan::{Pace, Traffic};
use crate::rows::{self, Row};
use crate::stand::Stand;
use crate::wire::Wire;
use anyhow::ensure;
use std::time::Duration;

/// The search for the limit ends when it is known to this part.
const STEPS: u32 = 8;
const LEAST: u64 = 100_000;
const MOST: u64 = 4_000_000;
/// What a contender has to carry at a rate.
const SPAN: Duration = Duration::from_millis(100);
/// As often it may try: something else may have run on its core.
const TRIES: usize = 4;
/// Of a thousand frames, so many may be lost.
const LOST: u64 = 1;

/// Searches of each contender in a round: they vary more than all else here.
const SEARCHES: usize = 2;

/// Timed frames of one turn, and the rest between them; odd, so as not to be in step with a timer.
const PINGS: u64 = 150;
const REST_NS: u64 = 2_317_000;
/// Turns in a round; the one with the least 99th percentile counts.
const TURNS: usize = 3;

/// Measures all contenders.
///
/// # Errors
/// When one cannot be set up.
pub fn measure(stand: &mut Stand) -> anyhow::Result<()> {
    println!("sockets");
    let flows = Traffic::udp(1000);
    let setup = |engine| Setup::new(engine, 1 << 20);
    let bare = stand.wire("bare-xdp")?;
    stand.far.answer_bare_on(&bare)?;
    let (_native, native) = stand.lbd("rest-xdp", setup(Engine::Native))?;
    let bare_packet = stand.wire("bare-packet")?;
    let _bare_packet = Echo::packet(&bare_packet);
    let (_packet, packet) = stand.lbd("packet", setup(Engine::AfPacket))?;
    let bare_af_xdp = stand.wire("bare-af-xdp")?;
    let _bare_af_xdp = Echo::af_xdp(&bare_af_xdp)?;
    let af_xdp = if_there(stand.lbd("af-xdp", setup(Engine::AfXdp)), stand);
    let theirs = af_xdp.as_ref().map(|(_, wire)| wire);
    for wire in [Some(&native), Some(&packet), theirs].into_iter().flatten() {
        stand.make_known(wire, &flows)?;
    }

    for round in 1..=stand.rounds {
        println!("round {round} of {}: sockets", stand.rounds);
        let mut pairs = vec![(
            [&rows::BARE_PACKET, &rows::LBD_PACKET, &rows::PACKET_TO_BARE],
            [&bare_packet, &packet],
        )];
        if let Some((_, wire)) = &af_xdp {
            pairs.push((
                [&rows::BARE_AF_XDP, &rows::LBD_AF_XDP, &rows::AF_XDP_TO_BARE],
                [&bare_af_xdp, wire],
            ));
        }
        let searches = (0..SEARCHES).flat_map(|_| pairs.iter().copied());
        for ([bare_row, row, ratio], [bare_wire, wire]) in searches {
            let floor = limit(stand, bare_wire, &flows)?;
            stand.figures.note(bare_row, floor);
            let rate = limit(stand, wire, &flows)?;
            stand.figures.note(row, rate);
            stand.figures.note(ratio, rate / floor);
        }

        let floor = at_rest(stand, &bare, |_| flows)?;
        stand.figures.note(&rows::REST_BARE_P50, floor.0);
        stand.figures.note(&rows::REST_BARE_P99, floor.1);
        let mut added = |wire: &Wire, rows: [&'static Row; 2]| {
            let seen = at_rest(stand, wire, |_| flows)?;
            stand.figures.note(rows[0], seen.0 - floor.0);
            stand.figures.note(rows[1], seen.1 - floor.1);
            anyhow::Ok(())
        };
        added(&native, [&rows::REST_XDP_P50, &rows::REST_XDP_P99])?;
        added(&packet, [&rows::REST_PACKET_P50, &rows::REST_PACKET_P99])?;
        if let Some((_, wire)) = &af_xdp {
            added(wire, [&rows::REST_AF_XDP_P50, &rows::REST_AF_XDP_P99])?;
        }
        let seen = at_rest(stand, &native, |stand| stand.unseen(flows, PINGS))?;
        stand.figures.note(&rows::REST_NEW_P50, seen.0 - floor.0);
        stand.figures.note(&rows::REST_NEW_P99, seen.1 - floor.1);
    }
    Ok(())
}

/// An engine this lbd may not have.
fn if_there(started: anyhow::Result<(Lbd, Wire)>, stand: &mut Stand) -> Option<(Lbd, Wire)> {
    match started {
        Ok(started) => Some(started),
        Err(error) => {
            stand.figures.leave_out("af_xdp", &format!("{error:#}"));
            None
        }
    }
}

/// The most that is carried with hardly a loss, in million packets a second.
fn limit(stand: &mut Stand, wire: &Wire, traffic: &Traffic) -> anyhow::Result<f64> {
    let (mut carried, mut lost) = (LEAST, MOST);
    let mut most = 0.0_f64;
    for _ in 0..STEPS {
        let rate = (carried + lost) / 2;
        let frames = rate * SPAN.as_millis() as u64 / 1000;
        let mut holds = false;
        for _ in 0..TRIES {
            stand.wait_for_quiet()?;
            let outcome = stand.send(wire, traffic, Pace::per_second(frames, rate))?;
            holds = outcome.returned * 1000 >= outcome.sent * (1000 - LOST);
            if holds {
                // The generator, too, has a limit.
                most = most.max(outcome.mpps());
                break;
            }
        }
        if holds {
            carried = rate;
        } else {
            lost = rate;
        }
    }
    Ok(most)
}

/// Median and 99th percentile of the way there and back of frames far apart, in microseconds; `traffic`
/// is asked for each turn's.
fn at_rest(
    stand: &mut Stand,
    wire: &Wire,
    mut traffic: impl FnMut(&mut Stand) -> Traffic,
) -> anyhow::Result<(f64, f64)> {
    let pace = Pace {
        frames: PINGS,
        gap_ns: REST_NS,
        timed: true,
    };
    let mut best = (f64::INFINITY, f64::INFINITY);
    for _ in 0..TURNS {
        let traffic = traffic(stand);
        stand.wait_for_quiet()?;
        let outcome = stand.send(wire, &traffic, pace)?;
        let times = stand.far.times()?;
        ensure!(
            outcome.returned * 100 >= outcome.sent * 99 && !times.is_empty(),
            "{} of {} single frames came back",
            outcome.returned,
            outcome.sent
        );
        let times: Vec<f64> = times.iter().map(|time| time.as_secs_f64() * 1e6).collect();
        let seen = (quantile(&times, 0.5), quantile(&times, 0.99));
        if seen.1 < best.1 {
            best = seen;
        }
    }
    Ok(best)
}
