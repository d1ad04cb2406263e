//! `demo`: what lbd does, on real traffic, told in plain sentences with measured figures.
//!
//! `demo` tells its story and cleans up; `demo lab` leaves the same network up, says how to get
//! in, and waits until it is ended.

use anyhow::{Context, ensure};
use integration::behind::Behind;
use integration::client::{Identity, curl, request_within, spread};
use integration::conf::{Conf, RealConf, ServiceConf};
use integration::isolate;
use integration::routed;
use integration::stage::{PORT, REAL_PORT, Stage, vip};
use integration::topology::{CLIENT, LB, Offloads, VIP, real};
use integration::wait_until;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

/// The check of the demo's services: quick, so that the story is.
const CHECK: [(&str, &str); 5] = [
    ("type", "\"tcp\""),
    ("interval", "\"500ms\""),
    ("timeout", "\"300ms\""),
    ("rise", "1"),
    ("fall", "2"),
];

fn main() -> anyhow::Result<()> {
    isolate::enter().context("namespaces: `unshare` and `setpriv` of util-linux are needed")?;
    match std::env::args().nth(1).as_deref() {
        None => story(),
        Some("lab") => lab(),
        Some(other) => anyhow::bail!("usage: demo [lab], not {other}"),
    }
}

/// The VIP of the second act.
const PROXIED_VIP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 11);

/// `web` by direct routing to these real servers, and `app` by the proxy to the two that are behind
/// lbd.
fn conf(reals: &[u8]) -> Conf {
    let web = ServiceConf::tcp("web", PORT).check(&CHECK);
    let web = reals
        .iter()
        .fold(web, |service, n| service.real(RealConf::n(*n)));
    let app = ServiceConf::proxied("app", PORT)
        .with("vip", &format!("\"{PROXIED_VIP}\""))
        .check(&CHECK);
    let app = [1, 2].into_iter().fold(app, |service, n| {
        let real = RealConf::new(&format!("far{n}"), routed::real(n));
        service.real(real.dialled_at(REAL_PORT))
    });
    Conf::one(web).service(app)
}

/// The switch, the network behind lbd, and lbd.
fn stage(reals: u8) -> (Stage, Behind) {
    let mut stage = Stage::before_lbd(reals, Offloads::Defaults, &conf(&[1, 2, 3]));
    let behind = Behind::new(&stage.switch.lb, 2, REAL_PORT);
    stage.lbd.spawn();
    stage.lbd.wait_ready();
    stage.lbd.wait_announced();
    (stage, behind)
}

fn say(text: &str) {
    println!("{text}");
    let _ = std::io::stdout().flush();
}

fn picture() -> String {
    format!(
        "
   client {CLIENT}
      |
   ===+========+===========+===========+===========+===  one switch
               |           |           |           |
             lbd          rs1         rs2         rs3
          {LB}    {}  {}  {}
       answers for         real servers of the VIP {VIP}, which
        both VIPs          sits on their loopback, silently
               |
           ====+===========+=============+===  another network
                           |             |
                         far1          far2
                     {}  {}
                           real servers of the VIP {PROXIED_VIP}, at port {REAL_PORT}
",
        real(1),
        real(2),
        real(3),
        routed::real(1),
        routed::real(2)
    )
}

fn story() -> anyhow::Result<()> {
    let began = Instant::now();
    say(
        "\nlbd spreads connections over real servers by direct routing: only the two MAC addresses",
    );
    say("of a frame change, so servers see the client's own address and answer it directly.");
    say("Everything below happens now, in network namespaces of this program's own.");
    say(&picture());
    let (mut stage, mut behind) = stage(4);

    one_thousand_requests(&stage)?;
    a_server_dies(&mut stage)?;
    the_set_changes_under_load(&stage)?;
    lbd_is_killed(&mut stage)?;
    the_proxy(&stage)?;
    a_proxied_server_dies(&stage, &mut behind)?;

    drop(stage);
    let took = began.elapsed().as_secs_f64();
    say(&format!(
        "\nDone in {took:.0} s; the namespaces are gone. `make lab` keeps them up to play in."
    ));
    Ok(())
}

fn one_thousand_requests(stage: &Stage) -> anyhow::Result<()> {
    say("1. One thousand requests by curl to the VIP.");
    let start = Instant::now();
    let answers = stage.curl(1_000);
    let took = start.elapsed().as_secs_f64();
    let own = answers
        .iter()
        .filter(|answer| answer.peer.ip() == CLIENT)
        .count();
    say(&format!(
        "   {} answers in {took:.1} s: {}.",
        answers.len(),
        shares(&answers)
    ));
    say(&format!(
        "   In {own} of them the server saw the client's own address, {CLIENT}."
    ));
    ensure!(
        answers.len() == 1_000 && own == 1_000,
        "not every request was answered as promised"
    );
    Ok(())
}

fn a_server_dies(stage: &mut Stage) -> anyhow::Result<()> {
    say("\n2. The server rs2 dies. Its check runs every 0.5 s; two failures take it down.");
    stage.servers[1].stop();
    let died = Instant::now();
    let (mut failed, mut last_failure) = (0, Duration::ZERO);
    wait_until("rs2 is out", Duration::from_secs(10), || {
        for _ in 0..10 {
            if request_within(&stage.switch.cl, vip(), Duration::from_millis(500)).is_err() {
                failed += 1;
                last_failure = died.elapsed();
            }
        }
        stage.lbd.real("web", "rs2")["state"] == "down"
    });
    say(&format!(
        "   {failed} connections were refused; after {:.1} s no new one went there any more.",
        last_failure.as_secs_f64()
    ));
    let answers = stage.curl(300);
    ensure!(
        answers.len() == 300,
        "a request was lost after the dead server was out"
    );
    say("   300 requests later: 300 answers, from rs1 and rs3.");
    stage.serve(2);
    stage
        .lbd
        .wait_real("web", "rs2", "up", Duration::from_secs(10));
    say("   rs2 is started again and takes new connections.");
    Ok(())
}

fn the_set_changes_under_load(stage: &Stage) -> anyhow::Result<()> {
    say(
        "\n3. The set changes while 300 connections are busy: rs1 is drained, rs4 is added, the file",
    );
    say("   is reloaded 20 times.");
    let flows = stage.flows(300, Duration::from_millis(50));
    stage.lbd.ctl(&["real", "drain", "web", "rs1"]).ok();
    stage.lbd.reload(&conf(&[1, 2, 3, 4]));
    for _ in 0..20 {
        stage.lbd.ctl(&["reload"]).ok();
    }
    flows.wait_for_echoes();
    stage.lbd.ctl(&["real", "enable", "web", "rs1"]).ok();
    let broken = flows.broken();
    let stall = flows
        .finish()
        .iter()
        .map(|flow| flow.longest_stall)
        .max()
        .unwrap_or_default();
    say(&format!(
        "   Connections lost: {broken}. The longest wait for an echo: {stall:.0?}."
    ));
    ensure!(broken == 0, "{broken} connections were lost");
    Ok(())
}

fn lbd_is_killed(stage: &mut Stage) -> anyhow::Result<()> {
    say("\n4. lbd itself is killed (kill -9) under 300 busy connections, and started again.");
    let flows = stage.flows(300, Duration::from_millis(50));
    stage.lbd.kill();
    stage.lbd.spawn();
    let ready = stage.lbd.wait_ready();
    flows.wait_for_echoes();
    let moved = flows.broken();
    let stall = flows
        .finish()
        .iter()
        .map(|flow| flow.longest_stall)
        .max()
        .unwrap_or_default();
    say(&format!(
        "   Ready again after {ready:.1?}. Connections that moved to another server: {moved}."
    ));
    say(&format!(
        "   The longest wait for an echo: {stall:.1?}. The flow table outlives the process."
    ));
    ensure!(moved == 0, "{moved} connections moved");
    Ok(())
}

fn the_proxy(stage: &Stage) -> anyhow::Result<()> {
    say("\n5. Second act, the transparent proxy: far1 and far2 are on another network, at another");
    say(
        "   port, where changing MAC addresses leads nowhere. lbd ends the client's connection and",
    );
    say("   dials the server itself, from the client's address. One thousand requests, as before:");
    let answers = curl(&stage.switch.cl, proxied_vip(), 1_000);
    let own = answers
        .iter()
        .filter(|answer| answer.peer.ip() == CLIENT)
        .count();
    say(&format!(
        "   {} answers from port {REAL_PORT} of {}.",
        answers.len(),
        shares(&answers)
    ));
    say(&format!(
        "   In {own} of them the server saw the client's own address, {CLIENT}."
    ));
    ensure!(
        answers.len() == 1_000 && own == 1_000,
        "not every proxied request was answered as promised"
    );
    Ok(())
}

fn a_proxied_server_dies(stage: &Stage, behind: &mut Behind) -> anyhow::Result<()> {
    behind.servers[0].stop();
    let answers = curl(&stage.switch.cl, proxied_vip(), 300);
    say("\n6. far1 dies. A proxy that is refused tries another server before its client notices:");
    say(&format!(
        "   300 requests, begun before its check could know: {} answers, from {}.",
        answers.len(),
        shares(&answers)
    ));
    ensure!(answers.len() == 300, "a request was lost to a dead server");
    Ok(())
}

fn proxied_vip() -> SocketAddr {
    SocketAddr::new(PROXIED_VIP.into(), PORT)
}

/// `rs1 361, rs2 316`
fn shares(answers: &[Identity]) -> String {
    let shares: Vec<String> = spread(answers)
        .iter()
        .map(|(server, count)| format!("{server} {count}"))
        .collect();
    shares.join(", ")
}

fn lab() -> anyhow::Result<()> {
    let (stage, _behind) = stage(3);
    say(&picture());
    // The first process of the namespaces has number 1 inside; outside it is told by the parent.
    say(&format!(
        "export LBCTL_SOCKET={}",
        stage.lbd.socket_path().display()
    ));
    say(&format!(
        "configuration: {}",
        stage.lbd.config_path().display()
    ));
    // Until SIGTERM, SIGINT or SIGKILL: the kernel takes everything down.
    loop {
        std::thread::park();
    }
}
