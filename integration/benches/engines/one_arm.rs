//! One arm, end to end: frames come in and go out by the same interface. All is done on one core, the
//! making and counting of frames, too; so the ratios are those of everything a packet costs.

use crate::lbd::{DEFAULT_ENTRIES, Engine, Setup};
use crate::nft;
use crate::plan::{Pace, Traffic};
use crate::rows::{self, Row};
use crate::stand::Stand;
use crate::wire::Wire;

/// Frames of one turn: short, so that some turns meet nobody else on the machine.
const FRAMES: u64 = 50_000;
/// The same of flows that nobody has seen; those of a round fill a third of a table of their own.
const NEW_FRAMES: u64 = 20_000;
/// Turns of each contender in a round; the best counts.
const TURNS: usize = 16;

/// Measures all contenders.
///
/// # Errors
/// When one cannot be set up.
pub fn measure(stand: &mut Stand) -> anyhow::Result<()> {
    println!("one arm");
    let bare = stand.wire("bare")?;
    stand.far.answer_bare_on(&bare)?;
    let peer = stand.wire("nft")?;
    nft::balance(&peer, 10);
    let (_native, native) = stand.lbd("native", Setup::new(Engine::Native, 1 << 21))?;
    let (_generic, generic) = stand.lbd("generic", Setup::new(Engine::Generic, 1 << 20))?;
    let thousand = Traffic::udp(1000);
    let million = Traffic::udp(1_000_000);
    let declined = Traffic {
        unfinished: 100,
        ..thousand
    };
    stand.make_known(&native, &million)?;
    stand.make_known(&generic, &thousand)?;

    for round in 1..=stand.rounds {
        println!("round {round} of {}: one arm", stand.rounds);
        let contenders: [(&'static Row, &Wire, &Traffic); 8] = [
            (&rows::BARE_1K, &bare, &thousand),
            (&rows::NATIVE_1K, &native, &thousand),
            (&rows::NFT_1K, &peer, &thousand),
            (&rows::GENERIC_1K, &generic, &thousand),
            (&rows::BARE_1M, &bare, &million),
            (&rows::NATIVE_1M, &native, &million),
            (&rows::NFT_1M, &peer, &million),
            (&rows::NATIVE_DECLINED, &native, &declined),
        ];
        let mut best = [0.0_f64; 8];
        let (mut new, mut again) = (0.0_f64, 0.0_f64);
        let (_fresh, fresh) = stand.lbd(
            &format!("fresh{round}"),
            Setup::new(Engine::Native, DEFAULT_ENTRIES),
        )?;
        for _ in 0..TURNS {
            for ((_, wire, traffic), best) in contenders.iter().zip(&mut best) {
                stand.wait_for_quiet()?;
                let outcome = stand.send(wire, traffic, Pace::flood(FRAMES))?;
                *best = best.max(outcome.mpps());
            }
            stand.wait_for_quiet()?;
            let unseen = stand.unseen(thousand, NEW_FRAMES);
            for best in [&mut new, &mut again] {
                let outcome = stand.send(&fresh, &unseen, Pace::flood(NEW_FRAMES))?;
                *best = best.max(outcome.mpps());
            }
        }
        for ((row, ..), best) in contenders.iter().zip(best) {
            stand.figures.note(row, best);
        }
        let [
            bare_1k,
            native_1k,
            nft_1k,
            _,
            bare_1m,
            native_1m,
            _,
            with_declined,
        ] = best;
        for (row, value) in [
            (&rows::NATIVE_NEW, new),
            (&rows::NATIVE_AGAIN, again),
            (&rows::NATIVE_TO_BARE_1K, native_1k / bare_1k),
            (&rows::NATIVE_TO_BARE_1M, native_1m / bare_1m),
            (&rows::NATIVE_TO_NFT, native_1k / nft_1k),
            (&rows::DECLINED_TO_BARE, with_declined / bare_1k),
            (&rows::NEW_TO_HIT, new / native_1k),
            (&rows::NEW_TO_AGAIN, new / again),
        ] {
            stand.figures.note(row, value);
        }
    }
    Ok(())
}
