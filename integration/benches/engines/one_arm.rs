//! One arm, end to end: frames come in and go out by the same interface. All is done on one core, the
//! making and counting of frames, too; so the ratios are those of everything a packet costs.

use crate::lbd::{Engine, Setup};
use crate::nft;
use crate::plan::{Pace, Traffic};
use crate::rows;
use crate::stand::Stand;

const FRAMES: u64 = 1_500_000;

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
    let (_fresh, fresh) = stand.lbd("fresh", Setup::new(Engine::Native, 1 << 20))?;
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
        let mut rate = |row, wire, traffic: &Traffic| {
            let outcome = stand.send(wire, traffic, Pace::flood(FRAMES))?;
            stand.figures.note(row, outcome.mpps());
            anyhow::Ok(outcome.mpps())
        };
        let bare_1k = rate(&rows::BARE_1K, &bare, &thousand)?;
        let native_1k = rate(&rows::NATIVE_1K, &native, &thousand)?;
        let nft_1k = rate(&rows::NFT_1K, &peer, &thousand)?;
        rate(&rows::GENERIC_1K, &generic, &thousand)?;
        let bare_1m = rate(&rows::BARE_1M, &bare, &million)?;
        let native_1m = rate(&rows::NATIVE_1M, &native, &million)?;
        rate(&rows::NFT_1M, &peer, &million)?;
        let native_declined = rate(&rows::NATIVE_DECLINED, &native, &declined)?;
        let new = stand.unseen(thousand, FRAMES);
        let outcome = stand.send(&fresh, &new, Pace::flood(FRAMES))?;
        let figures = &mut stand.figures;
        figures.note(&rows::NATIVE_NEW, outcome.mpps());
        figures.note(&rows::NATIVE_TO_BARE_1K, native_1k / bare_1k);
        figures.note(&rows::NATIVE_TO_BARE_1M, native_1m / bare_1m);
        figures.note(&rows::NATIVE_TO_NFT, native_1k / nft_1k);
        figures.note(&rows::DECLINED_TO_BARE, native_declined / bare_1k);
        figures.note(&rows::NEW_TO_HIT, outcome.mpps() / native_1k);
    }
    Ok(())
}
