//! Whether reals' answers to clients' addresses come back: each real is dialled from this host's own
//! address and from a client's, at once.

use super::{DoctorPlan, Patient, Report, judge};
use crate::live::event::Link;
use crate::sys::transparent;
use lbcore::net::{Prefix, Protocol};
use socket2::Domain;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::net::TcpSocket;
use tokio::task::JoinSet;

/// A real that is silent for so long answers nobody.
const PATIENCE: Duration = Duration::from_secs(2);

/// Reals dialled at once: two sockets each, well within the reserve of descriptors.
const AT_ONCE: usize = 32;

/// Reals looked at in one visit, so that it ends within some seconds even if all are silent.
const MOST: usize = 256;

/// What came of a dial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// Accepted or refused: a packet came back.
    Came,
    /// Nothing.
    Silence,
    /// The dial could not be made.
    Failed(io::ErrorKind),
}

/// Dials every real that is dialled from clients' addresses. Without the rules being `whole` no
/// answer could come back.
pub(super) async fn probe(plan: &DoctorPlan, whole: bool, report: &mut Report) {
    let mut waiting = Vec::new();
    for real in &plan.reals {
        let check = check_of(real);
        match why_not(real, whole) {
            Some(why) => report.skipped(&check, why),
            None if waiting.len() >= MOST => {
                report.skipped(&check, format!("only {MOST} reals are dialled at once"));
            }
            None => match client_for(plan, real) {
                Ok(client) => waiting.push((real.clone(), client)),
                Err(why) => report.skipped(&check, why),
            },
        }
    }
    let mut dials = JoinSet::new();
    let mut done = Vec::new();
    for (number, (real, client)) in waiting.into_iter().enumerate() {
        if dials.len() >= AT_ONCE {
            done.extend(dials.join_next().await.and_then(Result::ok));
        }
        dials.spawn(async move {
            let (own, borrowed) = tokio::join!(dial(None, real.at), dial(Some(client), real.at));
            (number, real, client, own, borrowed)
        });
    }
    while let Some(ended) = dials.join_next().await {
        done.extend(ended);
    }
    done.sort_by_key(|(number, ..)| *number);
    for (_, real, client, own, borrowed) in done {
        tell(&real, client, own, borrowed, report);
    }
}

fn check_of(real: &Patient) -> String {
    format!("return path of {}", real.name)
}

/// Why a real is not dialled.
fn why_not(real: &Patient, whole: bool) -> Option<String> {
    if !real.borrowed {
        return Some("it is dialled from this host's own address (source = \"self\")".to_owned());
    }
    if real.protocol == Protocol::Udp {
        return Some("udp: nobody has to answer a datagram".to_owned());
    }
    if real.disabled {
        return Some("it is disabled".to_owned());
    }
    if !whole {
        return Some("no answer can come back while rules are missing".to_owned());
    }
    None
}

/// The client's address to borrow: the one asked for, or the latest that will do.
fn client_for(plan: &DoctorPlan, real: &Patient) -> Result<IpAddr, String> {
    if let Some(asked) = plan.client {
        return match unfit(plan, real, asked) {
            Some(why) => Err(why),
            None => Ok(asked),
        };
    }
    let mut why = None;
    for client in &plan.seen {
        match unfit(plan, real, *client) {
            None => return Ok(*client),
            Some(words) => {
                why.get_or_insert(words);
            }
        }
    }
    Err(why.unwrap_or_else(|| {
        "no client was seen yet: lbctl doctor --client ADDRESS borrows that one".to_owned()
    }))
}

/// Why this address is not borrowed to dial that real.
fn unfit(plan: &DoctorPlan, real: &Patient, client: IpAddr) -> Option<String> {
    if client.is_ipv4() != real.at.is_ipv4() {
        return Some(format!(
            "{client} is of another family than {}",
            real.at.ip()
        ));
    }
    if !is_unicast(client) {
        return Some(format!("{client} is nobody's address out there"));
    }
    let own = |link: &Link| link.addresses.iter().any(|(a, _)| *a == client);
    if plan.links.iter().any(own) || plan.vips.contains(&client) {
        return Some(format!(
            "{client} is this host's own address, not a client's"
        ));
    }
    if plan.reals.iter().any(|r| r.at.ip() == client) {
        return Some(format!("{client} is a real's address, not a client's"));
    }
    // Answers to a neighbour go to that neighbour, through whatever its routes say; and there they
    // would meet a machine that knows nothing of them.
    let shares = |(address, len): &(IpAddr, u8)| {
        Prefix::new(*address, *len)
            .is_some_and(|net| net.contains(client) && net.contains(real.at.ip()))
    };
    if plan.links.iter().flat_map(|l| &l.addresses).any(shares) {
        return Some(format!(
            "{client} is on the real's own network, which answers it directly; \
             lbctl doctor --client ADDRESS with one from elsewhere tells more"
        ));
    }
    None
}

fn is_unicast(address: IpAddr) -> bool {
    let nowhere = address.is_unspecified() || address.is_loopback() || address.is_multicast();
    !nowhere
        && match address {
            IpAddr::V4(v4) => !v4.is_broadcast() && !v4.is_link_local() && v4.octets()[0] != 0,
            IpAddr::V6(v6) => !v6.is_unicast_link_local(),
        }
}

async fn dial(source: Option<IpAddr>, to: SocketAddr) -> Answer {
    let socket = match transparent::dial_from(source, Domain::for_address(to)) {
        Ok(socket) => TcpSocket::from_std_stream(socket.into()),
        Err(error) => return Answer::Failed(error.kind()),
    };
    match tokio::time::timeout(PATIENCE, socket.connect(to)).await {
        Ok(Ok(stream)) => {
            // A reset: nothing waits on either side for a connection that nobody wanted.
            let _ = stream.set_zero_linger();
            Answer::Came
        }
        Ok(Err(error)) => match error.kind() {
            io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => Answer::Came,
            io::ErrorKind::TimedOut => Answer::Silence,
            kind => Answer::Failed(kind),
        },
        Err(_) => Answer::Silence,
    }
}

fn tell(real: &Patient, client: IpAddr, own: Answer, borrowed: Answer, report: &mut Report) {
    let check = check_of(real);
    match (own, borrowed) {
        (_, Answer::Came) => {
            report.good(&check, format!("answers to {client} come back"));
        }
        (Answer::Came, Answer::Silence) => {
            report.found(&check, judge::return_path(&real.name, real.at.ip(), client));
        }
        (Answer::Came, Answer::Failed(kind)) => {
            report.skipped(
                &check,
                format!("it cannot be dialled from {client}: {kind}"),
            );
        }
        (Answer::Silence | Answer::Failed(_), _) => report.skipped(
            &check,
            format!(
                "{} does not answer this host either: see its checks",
                real.at
            ),
        ),
    }
}
