//! `screenshots DIRECTORY`: the pictures of the README, of a network with traffic in which a real
//! server is down and another one drains: the status page (`page.png`, `page-dark.png`,
//! `page-phone.png`) and `lbctl top` (`top.png`).

use anyhow::Context;
use integration::behind::Behind;
use integration::browser::Browser;
use integration::conf::{Conf, RealConf, ServiceConf};
use integration::isolate;
use integration::long_flows::{LongFlows, Transport};
use integration::routed;
use integration::stage::{PORT, REAL_PORT, Stage};
use integration::terminal::Terminal;
use integration::topology::{Offloads, VIP6, real6};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const CHECK: [(&str, &str); 5] = [
    ("type", "\"http\""),
    ("interval", "\"1s\""),
    ("timeout", "\"500ms\""),
    ("rise", "1"),
    ("fall", "2"),
];

const PROXIED_VIP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 11);

const LONG: Duration = Duration::from_secs(30);

fn conf() -> Conf {
    let shop = ServiceConf::tcp("shop", PORT)
        .with("description", "\"the shop's front\"")
        .check(&CHECK)
        .reals(1..=4);
    let shop6 = ServiceConf::tcp("shop6", PORT)
        .with("vip", &format!("\"{VIP6}\""))
        .check(&CHECK);
    let shop6 = (1..=3).fold(shop6, |service, n| {
        service.real(RealConf::new(&format!("rs{n}"), real6(n)))
    });
    let voice = ServiceConf::udp("voice", PORT).reals(1..=2);
    let app = ServiceConf::proxied("app", PORT)
        .with("vip", &format!("\"{PROXIED_VIP}\""))
        .with("scheduler", "\"lc\"")
        .check(&CHECK);
    let app = [1, 2].into_iter().fold(app, |service, n| {
        let real = RealConf::new(&format!("far{n}"), routed::real(n));
        service.real(real.dialled_at(REAL_PORT))
    });
    Conf::one(shop).service(app).service(voice).service(shop6)
}

fn main() -> anyhow::Result<()> {
    let directory = std::env::args()
        .nth(1)
        .context("usage: screenshots DIRECTORY")?;
    std::fs::create_dir_all(&directory)?;
    let directory = std::fs::canonicalize(directory)?;
    isolate::enter().context("namespaces: `unshare` and `setpriv` of util-linux are needed")?;

    let mut stage = Stage::before_lbd(4, Offloads::Defaults, &conf());
    let _behind = Behind::new(&stage.switch.lb, 2, REAL_PORT);
    stage.lbd.spawn();
    stage.lbd.wait_ready();
    stage.lbd.wait_announced();
    let flows = |vip: SocketAddr, transport, count, period| {
        let period = Duration::from_millis(period);
        LongFlows::start(stage.switch.cl.handle(), transport, vip, count, period)
    };
    let vip = integration::stage::vip();
    let _traffic = [
        flows(vip, Transport::Tcp, 240, 60),
        flows(vip, Transport::Udp, 60, 20),
        flows(integration::stage::vip6(), Transport::Tcp, 80, 90),
        flows(
            SocketAddr::new(PROXIED_VIP.into(), PORT),
            Transport::Tcp,
            40,
            40,
        ),
    ];
    stage.lbd.ctl(&["real", "drain", "shop", "rs4"]).ok();
    stage.servers[2].stop();
    stage.lbd.wait_real("shop", "rs3", "down", LONG);

    page(&stage, &directory);
    top(&stage, &directory)
}

/// The status page, wide in light and dark, and on a phone.
fn page(stage: &Stage, directory: &Path) {
    let mut browser = Browser::start(&stage.switch.lb.handle());
    for (file, scheme, width, height, scale) in [
        ("page.png", "light", 1180, 980, 1.5),
        ("page-dark.png", "dark", 1180, 980, 1.5),
        ("page-phone.png", "dark", 360, 900, 2.0),
    ] {
        browser.scheme(scheme);
        browser.size(width, height, scale);
        browser.open("http://127.0.0.1:9380/");
        browser.wait(
            "document.querySelector('#line')?.textContent === 'live'",
            LONG,
        );
        browser.wait(
            "Number(document.querySelector('.totals dd').textContent.replace(',', '')) > 99",
            LONG,
        );
        let file = directory.join(file);
        browser.screenshot(&file);
        squeeze(&file);
    }
}

/// `lbctl top` after it has drawn for a while.
fn top(stage: &Stage, directory: &Path) -> anyhow::Result<()> {
    let terminal = Terminal::start(&stage.lbd.ctl_command(&["top"]), 118, 34);
    terminal.wait("packets/s", LONG);
    std::thread::sleep(Duration::from_secs(20));
    let html = directory.join("top.html");
    std::fs::write(&html, terminal.html())?;
    let mut browser = Browser::start(&stage.switch.lb.handle());
    browser.size(1000, 650, 1.5);
    browser.open(&format!("file://{}", html.display()));
    browser.wait("document.readyState === 'complete'", LONG);
    let file = directory.join("top.png");
    browser.screenshot(&file);
    squeeze(&file);
    std::fs::remove_file(html)?;
    Ok(())
}

/// With 256 colours, a picture of text loses nothing and half of its size.
fn squeeze(file: &PathBuf) {
    let done = Command::new("pngquant")
        .args(["--force", "--strip", "--speed", "1", "--ext", ".png"])
        .arg(file)
        .status();
    assert!(done.is_ok_and(|s| s.success()), "pngquant is needed");
}
