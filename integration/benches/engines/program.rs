//! The program alone: nanoseconds a packet over the empty program's, without any wire.

use crate::lbd::{DEFAULT_ENTRIES, Engine, Lbd, Setup};
use crate::plan::{ACK, Traffic, Transport};
use crate::rows::{self, Row};
use crate::stand::Stand;
use crate::wire::Wire;
use anyhow::ensure;

/// Frames of one turn: short, so that some turns meet nobody else on the machine.
const REPEAT: u32 = 20_000;
/// Turns of the empty program and of lbd's each. The least counts: what else runs only ever adds.
const TURNS: usize = 60;

/// Measures with up to a million flows.
///
/// # Errors
/// When lbd or the kernel refuses.
pub fn measure(stand: &mut Stand) -> anyhow::Result<()> {
    println!("program");
    let default = Setup::new(Engine::Native, DEFAULT_ENTRIES);
    let (lbd, wire) = stand.lbd("ns", default)?;
    let (large, large_wire) = stand.lbd("ns-large", Setup::new(Engine::Native, 1 << 21))?;
    let hundred = Setup {
        services: 100,
        ..default
    };
    let (hundred, hundred_wire) = stand.lbd("ns-100", hundred)?;
    let thousand = Setup {
        services: 1000,
        reals: 2,
        ..default
    };
    let (thousand, thousand_wire) = stand.lbd("ns-1000", thousand)?;

    let flows = Traffic::udp(1000);
    let v6 = Traffic { v6: true, ..flows };
    let tcp = Traffic {
        transport: Transport::Tcp(ACK),
        ..flows
    };
    let over = |services: u32| Traffic { services, ..flows };
    let changes = Setup {
        track_changes: true,
        ..default
    };
    let (changes, changes_wire) = stand.lbd("ns-changes", changes)?;
    let million_tcp = Traffic {
        transport: Transport::Tcp(ACK),
        ..Traffic::udp(1_000_000)
    };
    let cases: [Case<'_>; 8] = [
        (&rows::PROGRAM_1K, &lbd, &wire, flows),
        (&rows::PROGRAM_1K_V6, &lbd, &wire, v6),
        (&rows::PROGRAM_1K_TCP, &lbd, &wire, tcp),
        (
            &rows::PROGRAM_100_SERVICES,
            &hundred,
            &hundred_wire,
            over(100),
        ),
        (
            &rows::PROGRAM_1000_SERVICES,
            &thousand,
            &thousand_wire,
            over(1000),
        ),
        (
            &rows::PROGRAM_100K,
            &large,
            &large_wire,
            Traffic::udp(100_000),
        ),
        (
            &rows::PROGRAM_1M,
            &large,
            &large_wire,
            Traffic::udp(1_000_000),
        ),
        (&rows::PROGRAM_CHANGES, &changes, &changes_wire, million_tcp),
    ];
    for (_, _, wire, traffic) in &cases {
        stand.make_known(wire, traffic)?;
    }
    for round in 1..=stand.rounds {
        println!("round {round} of {}: program", stand.rounds);
        measure_round(stand, &cases)?;
    }
    Ok(())
}

/// Measures with 10 million flows.
///
/// # Errors
/// As [`measure`].
pub fn measure_ten_million(stand: &mut Stand) -> anyhow::Result<()> {
    println!("10 million flows");
    let (lbd, wire) = stand.lbd("ns-10m", Setup::new(Engine::Native, 1 << 24))?;
    let traffic = Traffic::udp(10_000_000);
    stand.make_known(&wire, &traffic)?;
    for _ in 0..stand.rounds {
        measure_round(stand, &[(&rows::PROGRAM_10M, &lbd, &wire, traffic)])?;
    }
    Ok(())
}

/// A row, whose program runs, as on which wire, and on what.
type Case<'a> = (&'static Row, &'a Lbd, &'a Wire, Traffic);

/// All cases in turn, so that moments in which something else runs are everybody's.
fn measure_round(stand: &mut Stand, cases: &[Case<'_>]) -> anyhow::Result<()> {
    let empty = stand.far.empty()?;
    let mut least = vec![(f64::INFINITY, f64::INFINITY); cases.len()];
    let before: Vec<u64> = cases.iter().map(|(_, lbd, ..)| lbd.packets()).collect();
    for _ in 0..TURNS {
        for ((_, lbd, wire, traffic), (floor, cost)) in cases.iter().zip(&mut least) {
            let program = lbd.program()?;
            stand.wait_for_quiet()?;
            let mut run = |program| stand.far.run_alone(program, wire, traffic, REPEAT);
            *floor = floor.min(run(&empty)?);
            *cost = cost.min(run(&program)?);
        }
    }
    for (nth, (row, lbd, ..)) in cases.iter().enumerate() {
        let runs = cases
            .iter()
            .filter(|(_, other, ..)| std::ptr::eq(*other, *lbd));
        let frames = u64::from(REPEAT) * (TURNS * runs.count()) as u64;
        let forwarded = lbd.packets() - before[nth];
        ensure!(
            forwarded >= frames * 999 / 1000,
            "{}: only {forwarded} of {frames} frames were forwarded",
            row.what
        );
    }
    for ((row, ..), (floor, cost)) in cases.iter().zip(least) {
        if std::ptr::eq(*row, &rows::PROGRAM_1K) {
            stand.figures.note(&rows::EMPTY, floor);
        }
        stand.figures.note(row, cost - floor);
    }
    Ok(())
}
