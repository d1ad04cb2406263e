//! `whoami NAME PORT [ADDRESS...]`: a real server that says who it is and whom it sees.
//! UDP is answered on the addresses given.

use anyhow::Context;
use integration::real_server::{Settings, serve_here};

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let usage = "usage: whoami NAME PORT [UDP-ADDRESS...]";
    let name = args.next().context(usage)?;
    let port = args.next().context(usage)?.parse().context("PORT")?;
    let udp_addresses = args.map(|word| word.parse().with_context(|| word.clone()));
    let udp_addresses = udp_addresses.collect::<anyhow::Result<_>>()?;
    serve_here(Settings {
        name,
        port,
        udp_addresses,
    })
    .with_context(|| format!("port {port}"))
}
