//! Packets and connections, a line each; and what became of all of them.

use super::human;
use super::page::{Page, Tone, numbers, words};
use lbcore::api::{ConnectionView, PacketView, SummaryView, TraceLine, TraceView, Verdict};
use std::time::Duration;

/// Draws one line of `lbctl trace` or `lbctl replay`. How a trace begins and ends is for programs:
/// people are told on stderr.
pub fn line(view: &TraceView, page: &mut Page) {
    let at = view.at.to_string();
    // The day is on every line of a screen the same.
    let at = match at.split_once('T') {
        Some((_, time)) if !page.look.wide => time.trim_end_matches('Z'),
        _ => &at,
    };
    let (tone, text) = match &view.what {
        TraceLine::Packet(packet) => (tone(packet.verdict), packet_text(packet)),
        TraceLine::Connected(connection) => (Tone::Good, connection_text(connection)),
        TraceLine::Ended(connection) => {
            let tone = match connection.result.as_deref() {
                Some("ok") => Tone::Quiet,
                _ if connection.verdict == Verdict::Proxy => Tone::Uneasy,
                _ => Tone::Bad,
            };
            (tone, connection_text(connection))
        }
        TraceLine::Begin(_) | TraceLine::End(_) => return,
        TraceLine::Summary(all) => {
            page.line("");
            return summary(all, page);
        }
        TraceLine::Unknown => (
            Tone::Plain,
            "something this version has no words for".to_owned(),
        ),
    };
    page.toned_line(tone, &format!("{at} {text}"));
}

fn tone(verdict: Verdict) -> Tone {
    match verdict {
        Verdict::Forward | Verdict::Proxy => Tone::Good,
        Verdict::Pass => Tone::Quiet,
        Verdict::Drop | Verdict::Refuse => Tone::Bad,
    }
}

fn or_dash(text: Option<&String>) -> &str {
    text.map_or("-", String::as_str)
}

/// `tcp 198.51.100.7:50000 > 192.0.2.10:443 SYN 74 B web miss: forward to rs1 ...`
fn packet_text(packet: &PacketView) -> String {
    let named = packet.client.is_some() || packet.vip.is_some();
    let unknown = if named { "ip" } else { "other" };
    let protocol = packet
        .protocol
        .map_or(unknown.to_owned(), |p| p.to_string());
    let mut text = match (&packet.client, &packet.vip) {
        (None, None) => protocol,
        (client, vip) => format!(
            "{protocol} {} > {}",
            or_dash(client.as_ref()),
            or_dash(vip.as_ref())
        ),
    };
    if packet.icmp_error {
        text += " (icmp error)";
    }
    if let Some(flags) = &packet.flags {
        text += &format!(" {flags}");
    }
    text += &format!(" {} B", packet.length);
    if packet.packets > 1 {
        text += &format!(" in {} packets", packet.packets);
    }
    if let Some(service) = &packet.service {
        text += &format!(" {service} {}", packet.flow.word());
    }
    text += &match packet.verdict {
        Verdict::Forward => format!(
            ": forward to {} at {} via {}",
            or_dash(packet.real.as_ref()),
            or_dash(packet.mac.as_ref()),
            or_dash(packet.out.as_ref()),
        ),
        verdict => match &packet.drop_reason {
            Some(reason) => format!(": {} {reason}", verdict.word()),
            None => format!(": {}", verdict.word()),
        },
    };
    match packet.reason.as_str() {
        "" => text,
        reason => format!("{text} ({reason})"),
    }
}

/// `tcp 198.51.100.7:50000 > 192.0.2.10:443 web: connected to rs1 at 10.0.0.1:8443 after 1 ms`
fn connection_text(connection: &ConnectionView) -> String {
    let ConnectionView {
        protocol,
        client,
        vip,
        service,
        ..
    } = connection;
    let mut text = format!("{protocol} {client} > {vip} {service}: ");
    let place = match (&connection.real, &connection.server) {
        (Some(real), Some(server)) => format!("{real} at {server}"),
        _ => "no real".to_owned(),
    };
    let after = human::duration(Duration::from_millis(connection.age_ms));
    match &connection.result {
        None => text += &format!("connected to {place} after {} ms", connection.age_ms),
        Some(result) if connection.verdict == Verdict::Proxy => {
            let (sent, got) = (connection.bytes_in, connection.bytes_out);
            text += &format!(
                "ended {result} with {place} after {after}, {} in, {} out",
                human::bytes(sent),
                human::bytes(got)
            );
        }
        Some(result) => text += &format!("refused {result} after {} ms", connection.age_ms),
    }
    if !connection.tried.is_empty() {
        text += &format!("; in vain: {}", connection.tried.join(", "));
    }
    text
}

/// Draws what became of all packets.
pub fn summary(view: &SummaryView, page: &mut Page) {
    let time = human::duration(Duration::from_millis(view.time_ms));
    let plural = if view.packets == 1 { "" } else { "s" };
    let mut text = format!("{} packet{plural} in {time}", human::count(view.packets));
    for (verdict, count) in &view.verdicts {
        text += &format!(", {} {verdict}", human::count(*count));
    }
    page.line(&text);
    for (reason, count) in &view.drops {
        page.toned_line(
            Tone::Bad,
            &format!("dropped {reason}: {}", human::count(*count)),
        );
    }
    if view.reals.is_empty() {
        return;
    }
    let columns = [
        words("SERVICE"),
        words("REAL"),
        numbers("NEW FLOWS"),
        numbers("PACKETS"),
        numbers("BYTES"),
    ];
    let rows = view.reals.iter().map(|share| {
        vec![
            share.service.as_str().into(),
            share.real.as_str().into(),
            human::count(share.new_flows).into(),
            human::count(share.packets).into(),
            human::bytes(share.bytes).into(),
        ]
    });
    page.table(&columns, rows.collect::<Vec<_>>());
}
