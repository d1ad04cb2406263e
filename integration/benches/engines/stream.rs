//! One bulk TCP stream by direct routing, with offloads as a veth has them: almost every frame is a
//! super-frame whose checksum nobody has finished.

use crate::lbd::BPFFS;
use crate::rows::{self, Row};
use crate::stand::Stand;
use anyhow::ensure;
use integration::client::upload;
use integration::conf::Conf;
use integration::engine::{self, Engine};
use integration::netns::Netns;
use integration::stage::{PORT, Stage, vip, web};
use integration::topology::{Offloads, real};
use std::net::SocketAddr;

const BYTES: usize = 1 << 30;
/// Streams of a round each way, taken alternately; the best counts.
const TURNS: usize = 3;

/// Measures every engine against the way without it.
///
/// # Errors
/// When a stream breaks.
pub fn measure(stand: &mut Stand) -> anyhow::Result<()> {
    println!("stream");
    let engines: [(Engine, &'static Row, &'static Row); 3] = [
        (
            Engine::AfPacket,
            &rows::STREAM_PACKET,
            &rows::STREAM_PACKET_TO_DIRECT,
        ),
        (
            Engine::AfXdp,
            &rows::STREAM_AF_XDP,
            &rows::STREAM_AF_XDP_TO_DIRECT,
        ),
        (Engine::Xdp, &rows::STREAM_XDP, &rows::STREAM_XDP_TO_DIRECT),
    ];
    for round in 1..=stand.rounds {
        println!("round {round} of {}: stream", stand.rounds);
        for (engine, row, ratio) in engines {
            let stage = Stage::new(1, Offloads::Defaults, &conf(engine, round));
            let (name, reason) = engine::running(&stage.lbd);
            stand.figures.engine(format!("{name} ({reason})"));
            let (mut direct, mut through) = (0.0_f64, 0.0_f64);
            for _ in 0..TURNS {
                stand.wait_for_quiet()?;
                let client = &stage.switch.cl;
                direct = direct.max(gbit(client, SocketAddr::new(real(1).into(), PORT))?);
                through = through.max(gbit(client, vip())?);
            }
            stand.figures.note(&rows::STREAM_DIRECT, direct);
            stand.figures.note(row, through);
            stand.figures.note(ratio, through / direct);
        }
    }
    Ok(())
}

/// Behind the driver, as lbd by itself has it on a veth.
fn conf(engine: Engine, round: usize) -> Conf {
    let word = engine.word();
    let conf = Conf::one(web(1))
        // Every lbd has pins of its own: what another left is nothing it should go on with.
        .lbd("bpf_dir", &format!("\"{BPFFS}/stream{round}-{word}\""))
        .network("engine", &format!("\"{word}\""));
    match engine {
        Engine::AfPacket => conf,
        Engine::AfXdp | Engine::Xdp => conf.network("xdp_mode", "\"generic\""),
    }
}

fn gbit(client: &Netns, target: SocketAddr) -> anyhow::Result<f64> {
    let upload = upload(client, target, BYTES, false)?;
    ensure!(
        upload.bytes == BYTES as u64,
        "{target} read {} of {BYTES} bytes",
        upload.bytes
    );
    Ok(upload.gbit_per_s())
}
