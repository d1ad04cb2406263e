//! lbd's engines against their peers and against the least that anybody could do.
mod cores;
mod far_end;
mod lbd;
mod nft;
mod object;
mod plan;
mod wire;

use anyhow::{Context, ensure};
use far_end::FarEnd;
use integration::isolate;
use lbd::{Engine, Lbd, Setup};
use plan::{Pace, Traffic};
use wire::Wire;

fn main() -> anyhow::Result<()> {
    isolate::enter().context("namespaces: `unshare` of util-linux is needed, and root")?;
    lbd::mount_bpffs()?;
    let mut far = FarEnd::load()?;
    let bare = Wire::new("bare");
    far.count_on(&bare)?;
    far.answer_bare_on(&bare)?;
    let nft = Wire::new("nft");
    far.count_on(&nft)?;
    nft::balance(&nft, 10);
    let ours = Wire::new("xdp");
    far.count_on(&ours)?;
    let lbd = Lbd::start(&ours, Setup::new(Engine::Native, 1 << 21))?;
    println!("{}", lbd.engine());
    let thousand = Traffic::udp(1000);
    let million = Traffic::udp(1_000_000);
    far.prepare(&million.in_turn(), Pace::per_second(1_000_000, 50_000))?;
    let before = far.returned()?;
    println!("{:?}", far.send(&ours)?);
    println!(
        "returned {} flows {}",
        far.returned()? - before,
        lbd.flows()
    );
    for round in 0..5 {
        for (name, traffic) in [("1k", thousand), ("1M", million)] {
            for (who, wire) in [("bare", &bare), ("nft", &nft), ("lbd", &ours)] {
                far.prepare(&traffic, Pace::flood(1_000_000))?;
                let before = far.returned()?;
                let sent = far.send(wire)?;
                let back = far.returned()? - before;
                println!(
                    "{round} {name} {who}: {:.3} Mpps, {back} of {}",
                    back as f64 / sent.time.as_secs_f64() / 1e6,
                    sent.frames
                );
            }
            far.prepare(&traffic, Pace::flood(0))?;
            let empty = far.empty()?;
            let floor = far.run_alone(&empty, &ours, 1_000_000)?;
            let packets = lbd.packets();
            let cost = far.run_alone(&lbd.program()?, &ours, 1_000_000)?;
            println!(
                "{round} {name} ns: empty {floor} lbd {cost}: {}; {}",
                cost - floor,
                lbd.packets() - packets
            );
        }
    }
    ensure!(lbd.flows() > 0);
    Ok(())
}
