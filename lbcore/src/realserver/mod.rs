//! What a Linux machine needs to be a real server, as a script for its shell: to set it up, at every
//! boot as well, and to leave it as it was.
//!
//! The script is a head with the facts of one service, written here, and [`BODY`], which is the same
//! for all. It speaks POSIX sh and needs iproute2.

use crate::config::{self, Mode, SendProxy, Source};
use crate::net::Protocol;
use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};

/// Everything after the facts.
const BODY: &str = include_str!("setup.sh");

/// A service, as far as its real servers have to know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    /// Its name: `[a-z0-9._-]`, so it needs no quotes in a shell or in a file's name.
    pub name: String,
    /// How traffic reaches the reals.
    pub mode: Mode,
    /// Transport.
    pub protocol: Protocol,
    /// Its VIPs.
    pub vips: Vec<IpAddr>,
    /// Its reals, with the ports that traffic goes to; one entry for each port.
    pub reals: Vec<SocketAddr>,
    /// The address reals are dialled from; mode tproxy only.
    pub source: Source,
    /// The PROXY protocol header reals get; mode tproxy only.
    pub send_proxy: SendProxy,
}

impl Served {
    /// As the configuration has it.
    pub fn of(service: &config::Service) -> Self {
        let at = |real: &config::Real| {
            let own = real.port.map(|port| vec![port]);
            let ports = own.unwrap_or_else(|| service.ports.clone());
            let address = real.address;
            ports.into_iter().map(move |p| SocketAddr::new(address, p))
        };
        Served {
            name: service.name.clone(),
            mode: service.mode,
            protocol: service.protocol,
            vips: service.vips.clone(),
            reals: service.reals.iter().flat_map(at).collect(),
            source: service.proxy.source,
            send_proxy: service.proxy.send_proxy,
        }
    }

    /// Whether reals answer clients by way of lbd, and so need to be told the way.
    fn answers_through_lbd(&self) -> bool {
        self.mode == Mode::Tproxy && self.source == Source::Client
    }
}

/// What the script does when it is run without a word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verb {
    /// Sets the machine up until its next boot.
    #[default]
    Apply,
    /// And at every boot.
    Persist,
    /// Leaves it as it was.
    Undo,
}

impl Verb {
    fn word(self) -> &'static str {
        match self {
            Verb::Apply => "apply",
            Verb::Persist => "persist",
            Verb::Undo => "undo",
        }
    }
}

/// Why there is no script.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoScript {
    /// Reals of this family answer through lbd, and where that is was not said.
    #[error(
        "the real servers of {service} answer clients by way of lbd, and which address lbd's host has \
         in their network is not known here ({family})"
    )]
    NoGateway {
        /// Whose reals.
        service: String,
        /// `IPv4` or `IPv6`.
        family: &'static str,
    },
    /// Two of one family, or one of a family that no real has.
    #[error("{gateway} is one gateway too many: one for each family that {service}'s reals have")]
    SpareGateway {
        /// Whose reals.
        service: String,
        /// Which.
        gateway: IpAddr,
    },
}

/// The script for the real servers of `served`. `gateways`: this lbd's addresses in their network, one
/// a family, where they answer through lbd.
///
/// # Errors
/// A gateway is missing, or is one too many.
pub fn script(served: &Served, gateways: &[IpAddr], verb: Verb) -> Result<String, NoScript> {
    check_gateways(served, gateways)?;
    if served.mode == Mode::Tproxy && !served.answers_through_lbd() {
        return Ok(nothing_to_do(served));
    }
    let of_family = |v4: bool| {
        let vips = served.vips.iter().filter(move |vip| vip.is_ipv4() == v4);
        vips.copied()
    };
    let mut reals: Vec<IpAddr> = served.reals.iter().map(SocketAddr::ip).collect();
    reals.dedup();
    let mut ports: Vec<u16> = served.reals.iter().map(SocketAddr::port).collect();
    ports.sort_unstable();
    ports.dedup();
    let direct = served.mode == Mode::Dr;
    let after = if direct { "" } else { "network-online.target" };
    let mut text = head(served);
    let mut fact = |name: &str, value: String| {
        let _ = writeln!(text, "{name}='{value}'");
    };
    fact("service", served.name.clone());
    fact("mode", if direct { "dr" } else { "tproxy" }.to_owned());
    fact("default", verb.word().to_owned());
    fact("vips4", list(of_family(true).filter(|_| direct)));
    fact("vips6", list(of_family(false).filter(|_| direct)));
    fact("reals", list(reals));
    fact("protocol", served.protocol.to_string());
    fact("ports", list(ports));
    fact("gateways", list(gateways));
    fact("after", after.to_owned());
    text.push('\n');
    text.push_str(BODY);
    Ok(text)
}

fn check_gateways(served: &Served, gateways: &[IpAddr]) -> Result<(), NoScript> {
    for v4 in [true, false] {
        let needed =
            served.answers_through_lbd() && served.reals.iter().any(|real| real.is_ipv4() == v4);
        let mut given = gateways.iter().filter(|gateway| gateway.is_ipv4() == v4);
        let service = || served.name.clone();
        if needed && given.next().is_none() {
            let family = if v4 { "IPv4" } else { "IPv6" };
            let service = service();
            return Err(NoScript::NoGateway { service, family });
        }
        if let Some(spare) = given.next() {
            let (service, gateway) = (service(), *spare);
            return Err(NoScript::SpareGateway { service, gateway });
        }
    }
    Ok(())
}

fn list<T: ToString>(all: impl IntoIterator<Item = T>) -> String {
    let all: Vec<String> = all.into_iter().map(|one| one.to_string()).collect();
    all.join(" ")
}

fn head(served: &Served) -> String {
    let what = match served.mode {
        Mode::Dr => {
            "\
# Direct routing: this machine takes packets for the VIPs, and never says that it has them. The
# service must listen on the VIP (or on all addresses), at the VIP's port, and answer from it."
        }
        Mode::Tproxy => {
            "\
# Transparent proxy: the service sees clients' own addresses, and its answers to them must go through
# lbd's host. All that leaves from its port goes there, so nobody but lbd reaches the port any more."
        }
    };
    format!(
        "\
#!/bin/sh
# A real server of lbd, for the service {}. Printed by: lbctl gen realserver
#
{what}
#
#   sh FILE apply     set this machine up, until its next boot; again and again does no harm
#   sh FILE persist   and at every boot (needs systemd)
#   sh FILE undo      leave it as it was before
#
",
        served.name
    )
}

/// lbd dials from its own address: answers find back by themselves.
fn nothing_to_do(served: &Served) -> String {
    let name = &served.name;
    let proxy = match served.send_proxy {
        SendProxy::Off => "",
        SendProxy::V1 | SendProxy::V2 => {
            "\necho 'its server must read PROXY protocol, in nginx: listen PORT proxy_protocol;'"
        }
    };
    format!(
        "#!/bin/sh
# A real server of lbd, for the service {name}. Printed by: lbctl gen realserver
#
# lbd dials it from its own address (source = \"self\"), so its answers find back by themselves.
echo 'nothing has to be set up for {name}, and nothing was'{proxy}
"
    )
}

#[cfg(test)]
mod tests;
