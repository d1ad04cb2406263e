//! The page in HTML. Text from elsewhere is escaped here, by maud, and nowhere else.

use super::Glance;
use lbcore::api::{
    EventView, Happening, Rate, Rates, RealState, RealView, ServiceState, ServiceView, StatusView,
    Timestamp, VipState, VipView, printable,
};
use lbcore::config::Admin;
use lbcore::{human, redact};
use maud::{DOCTYPE, Markup, html};
use std::collections::HashSet;
use std::net::IpAddr;

/// Reals the page shows: what a browser puts in place within a frame or two, some 700 KiB.
/// Services in trouble come first when there are more.
const MOST_REALS: usize = 1000;

/// A service with more reals than this that is up begins closed.
const FEW_REALS: usize = 12;

/// The whole page around `main`. `now` is in milliseconds since 1970.
pub fn page(hostname: &str, main: &str, now: u128) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="robots" content="noindex";
                title { "lbd" }
                link rel="stylesheet" href="page.css";
                link rel="icon" href="data:,";
                noscript { meta http-equiv="refresh" content="10"; }
                script src="page.js" defer {}
            }
            body data-now=(now) {
                header {
                    h1 { "lbd " @if !hostname.is_empty() { span { "on " (printable(hostname)) } } }
                    input #filter type="search" hidden autocomplete="off" spellcheck="false"
                        placeholder="filter: name, address, down …" aria-label="Filter services and real servers";
                    p #line role="status" { "as of now; reads itself anew every 10 s" }
                }
                (maud::PreEscaped(main))
                footer { "Read only. " code { "lbctl" } " changes things; " code { "/metrics" } " has every counter." }
            }
        }
    };
    page.into_string()
}

/// What changes: `<main>`.
pub fn main(glance: &Glance, rates: &Rates) -> String {
    let Glance { status, lately } = glance;
    let verdict = Verdict::of(status);
    let main = html! {
        main data-title=(verdict.title()) data-version=(status.version) {
            p.verdict {
                (state(verdict.class, verdict.mark, verdict.word)) " " (verdict.words)
            }
            (totals(status, rates.total()))
            (warnings(status))
            section data-key="services" aria-labelledby="services" {
                h2 #services { "Services" }
                (services(status, rates))
            }
            section data-key="changes" aria-labelledby="changes" {
                h2 #changes { "What changed last" }
                ol.changes aria-live="polite" aria-relevant="additions" {
                    @for event in lately.iter().rev() { (change(event, status)) }
                }
            }
            section data-key="lbd" aria-labelledby="lbd" {
                h2 #lbd { "This lbd" }
                (facts(status))
            }
        }
    };
    main.into_string()
}

/// How everything does, in one sentence.
struct Verdict {
    class: &'static str,
    mark: &'static str,
    word: &'static str,
    words: String,
}

impl Verdict {
    fn of(status: &StatusView) -> Verdict {
        let worst = status.services.iter().map(|s| s.state).max_by_key(grave);
        let (class, mark, word) = match worst {
            Some(state) => (state.word(), service_mark(state), state.word()),
            None => ("disabled", "–", "idle"),
        };
        let all = status.services.len();
        let troubled: Vec<_> = status
            .services
            .iter()
            .filter(|s| s.state != ServiceState::Up)
            .map(|s| printable(&s.name))
            .collect();
        let words = match (all, troubled.as_slice()) {
            (0, _) => "No service is configured: lbctl service add, or the file".to_owned(),
            (1, []) => "The one service is up".to_owned(),
            (_, []) => format!("All {all} services are up"),
            (_, [one]) => format!("{one}, 1 of {all} services"),
            (_, [a, b]) => format!("{a} and {b}, 2 of {all} services"),
            (_, [a, b, more @ ..]) => format!(
                "{a}, {b} and {} more, {} of {all} services",
                more.len(),
                troubled.len()
            ),
        };
        let words = match status.ready {
            true => words,
            false => format!("{words}. Not ready: {}", printable(&status.ready_reason)),
        };
        Verdict {
            class,
            mark,
            word,
            words,
        }
    }

    /// For the tab: `● up · lbd`.
    fn title(&self) -> String {
        format!("{} {} · lbd", self.mark, self.word)
    }
}

fn grave(state: &ServiceState) -> u8 {
    match state {
        ServiceState::Up => 0,
        ServiceState::Degraded => 1,
        ServiceState::Panic => 2,
        ServiceState::Down => 3,
    }
}

/// A state by shape, colour and word.
fn state(class: &str, mark: &str, word: &str) -> Markup {
    html! { span class={ "state " (class) } { i aria-hidden="true" { (mark) } " " (word) } }
}

fn service_mark(state: ServiceState) -> &'static str {
    match state {
        ServiceState::Up => "●",
        ServiceState::Degraded => "▲",
        ServiceState::Panic => "◆",
        ServiceState::Down => "✖",
    }
}

fn real_mark(state: RealState) -> &'static str {
    match state {
        RealState::Up => "●",
        RealState::Checking => "◌",
        RealState::Unchecked => "○",
        RealState::Draining => "▼",
        RealState::Down => "✖",
        RealState::Disabled => "–",
    }
}

fn totals(status: &StatusView, total: Option<Rate>) -> Markup {
    let dropped: u64 = status.drops.values().sum();
    let share = status.flow_entries as f64 / status.flow_capacity.max(1) as f64 * 100.0;
    let flows = status.services.iter().map(|s| s.flows).sum();
    html! {
        dl.totals {
            div { dt { "packets/s" } dd { (packets(total)) } }
            div { dt { "from clients" } dd { (bits(total)) } }
            div { dt { "new flows/s" } dd { (new_flows(total)) } }
            div { dt { "flows" } dd { (human::count(flows)) } }
            @if !status.interfaces.is_empty() {
                div { dt { "flow table" } dd { (format!("{share:.0} %")) } }
                div { dt { "frames dropped" } dd { (human::count(dropped)) } }
            }
        }
    }
}

fn packets(rate: Option<Rate>) -> String {
    rate.and_then(|r| r.packets)
        .map_or("–".to_owned(), human::rate)
}

fn bits(rate: Option<Rate>) -> String {
    rate.map_or("–".to_owned(), |r| human::bits(r.bits))
}

fn new_flows(rate: Option<Rate>) -> String {
    rate.map_or("–".to_owned(), |r| human::rate(r.new_flows))
}

fn warnings(status: &StatusView) -> Markup {
    let ours = ours(status);
    let mut grave = Vec::new();
    if status.last_good_in_use {
        grave.push(format!(
            "{} is bad: the last good configuration runs. lbctl config check shows every mistake",
            status.config_file
        ));
    }
    if let Some(reload) = status.last_reload.as_ref().filter(|reload| !reload.ok) {
        grave.push(format!("the last reload was refused: {}", reload.message));
    }
    html! {
        @if !grave.is_empty() || !status.warnings.is_empty() {
            section data-key="warnings" aria-labelledby="warnings" {
                h2 #warnings { "Warnings" }
                ul.warnings {
                    @for words in &grave { li.grave { (told(words, &ours)) } }
                    @for words in &status.warnings { li { (told(words, &ours)) } }
                }
            }
        }
    }
}

fn services(status: &StatusView, rates: &Rates) -> Markup {
    let all: usize = status.services.iter().map(|s| s.reals.len()).sum();
    let mut order: Vec<&ServiceView> = status.services.iter().collect();
    if all > MOST_REALS {
        order.sort_by_key(|s| std::cmp::Reverse(grave(&s.state)));
    }
    let mut room = MOST_REALS;
    html! {
        @for service in order {
            @let shown = service.reals.len().min(room);
            @let () = room -= shown;
            (self::service(service, shown, status, rates))
        }
        @if all > MOST_REALS {
            p.quiet {
                (human::count((all - MOST_REALS) as u64)) " more real servers are not shown here: "
                code { "lbctl status" } " shows all."
            }
        }
    }
}

fn service(service: &ServiceView, shown: usize, status: &StatusView, rates: &Rates) -> Markup {
    let rate = rates.service(service);
    let open = service.state != ServiceState::Up || service.reals.len() <= FEW_REALS;
    let mut reals: Vec<&RealView> = service.reals.iter().collect();
    if shown < reals.len() {
        // What is well can be left out.
        reals.sort_by_key(|real| real.state.serves());
    }
    html! {
        details open[open] data-open=(open) data-key=(printable(&service.name)) {
            summary {
                (state(service.state.word(), service_mark(service.state), service.state.word()))
                span.what {
                    h3 { (printable(&service.name)) }
                    span.mono {
                        @for (n, endpoint) in service.endpoints.iter().enumerate() {
                            @if n > 0 { " " }
                            (endpoint) "/" (service.protocol.to_string())
                        }
                    }
                    span.quiet { (service.mode.word()) ", " (service.scheduler.to_string()) }
                    @if service.admin != Admin::Enabled { span.badge { (service.admin.word()) } }
                    @for vip in troubled_vips(service, status) {
                        (state(vip.state.word(), vip_mark(vip.state), &format!("VIP {} {}", vip.vip, vip.state)))
                    }
                }
                span.rates {
                    b { (packets(rate)) } " packets/s, " b { (bits(rate)) } ", "
                    b { (new_flows(rate)) } " new/s, " b { (human::count(service.flows)) } " flows"
                }
                span.why.quiet {
                    (printable(&service.state_reason))
                    @if !service.description.is_empty() { " · " (printable(&service.description)) }
                }
            }
            @if !service.reals.is_empty() {
                table role="table" {
                    caption.sr { "Real servers of " (printable(&service.name)) }
                    thead role="rowgroup" {
                        tr role="row" {
                            @for (name, number) in [
                                ("State", false), ("Real server", false), ("Address", false),
                                ("Weight", true), ("Flows", true), ("New/s", true),
                                ("Packets/s", true), ("From clients", true), ("Since", true),
                                ("Why", false),
                            ] {
                                th role="columnheader" scope="col" class=[number.then_some("n")] { (name) }
                            }
                        }
                    }
                    tbody role="rowgroup" {
                        @for real in &reals[..shown] { (self::real(service, real, rates)) }
                    }
                }
            }
        }
    }
}

fn real(service: &ServiceView, real: &RealView, rates: &Rates) -> Markup {
    let rate = rates.real(service, real);
    let place = match real.dial.and_then(|dial| dial.port) {
        Some(port) => std::net::SocketAddr::new(real.address, port).to_string(),
        None => real.address.to_string(),
    };
    let weight = match real.effective_weight {
        now if real.state.serves() && now != real.weight => format!("{} (now {now})", real.weight),
        _ => real.weight.to_string(),
    };
    let word = real.state.word();
    html! {
        tr role="row" class={ "r-" (word) } data-key={ (place) "/" (printable(&real.name)) } {
            td role="cell" { (state(word, real_mark(real.state), word)) }
            td role="cell" {
                (printable(&real.name))
                @if real.backup { " " span.badge { "backup" } }
                @if real.removed { " " span.badge { "removed" } }
            }
            td.mono role="cell" { (place) }
            td.n role="cell" data-label="weight" { (weight) }
            td.n role="cell" data-label="flows" { (human::count(real.flows)) }
            td.n role="cell" data-label="new/s" { (new_flows(rate)) }
            td.n role="cell" data-label="packets/s" { (packets(rate)) }
            td.n role="cell" data-label="from clients" { (bits(rate)) }
            td.n role="cell" data-label="since" { (moment(real.since, false)) }
            td role="cell" { (printable(&real.reason)) }
        }
    }
}

/// The VIPs of a service for which nobody here answers as wanted.
fn troubled_vips<'a>(
    service: &'a ServiceView,
    status: &'a StatusView,
) -> impl Iterator<Item = &'a VipView> {
    status.vips.iter().filter(|vip| {
        vip.services.contains(&service.name)
            && matches!(vip.state, VipState::Conflict | VipState::Probing)
    })
}

fn vip_mark(state: VipState) -> &'static str {
    match state {
        VipState::Announced | VipState::Owned => "●",
        VipState::Probing => "◌",
        VipState::Conflict => "✖",
        VipState::Silent => "–",
    }
}

fn change(event: &EventView, status: &StatusView) -> Markup {
    let class = match &event.what {
        Happening::Real { change, .. } => change.to.word(),
        Happening::Service { to, .. } => to.word(),
        Happening::Vip { to, .. } => to.word(),
        Happening::Reload { ok: false, .. } => "down",
        _ => "",
    };
    html! {
        li data-key=(event.seq) {
            (moment(event.at, true))
            span class=[(!class.is_empty()).then_some(class)] {
                (told(&event.what.to_string(), &ours(status)))
            }
        }
    }
}

/// A moment; the page's script says how long ago that was.
fn moment(at: Timestamp, ago: bool) -> Markup {
    let text = at.to_string();
    let (date, time) = text.split_once('T').unwrap_or((&text, ""));
    html! {
        time datetime=(text) data-ago[ago] { (date) " " (time.get(..8).unwrap_or(time)) " UTC" }
    }
}

fn facts(status: &StatusView) -> Markup {
    let ours = ours(status);
    html! {
        dl.facts {
            dt { "Version" }
            dd { (status.version) ", started " (moment(status.started, true)) }
            dt { "Configuration" }
            dd {
                "revision " (status.revision) ", " code { (printable(&status.config_file)) }
                @if let Some(reload) = &status.last_reload {
                    ", reload " @if reload.ok { "done " } @else { "refused " } (moment(reload.at, true))
                    ": " (told(&reload.message, &ours))
                }
            }
            @if !status.drift.is_empty() {
                dt { "Differs from the file" }
                dd {
                    @for drift in &status.drift {
                        div {
                            (printable(&drift.key)) ": " (printable(&drift.running))
                            " (the file says " (printable(&drift.file)) ")"
                        }
                    }
                }
            }
            dt { "Ready" }
            dd { @if status.ready { "yes" } @else { "no" } ", " (printable(&status.ready_reason)) }
            @for engine in &status.engines {
                dt { "Engine" }
                dd { (engine.name) " on " (printable(&engine.interface)) ": " (printable(&engine.reason)) }
            }
            @for interface in status.interfaces.iter().filter(|i| i.state != "up") {
                dt { "Interface" }
                dd { (printable(&interface.name)) ": " (printable(&interface.state)) }
            }
            @for vip in &status.vips {
                dt { "VIP" }
                dd {
                    code { (vip.vip) } " " (state(vip.state.word(), vip_mark(vip.state), vip.state.word()))
                    @if let Some(interface) = &vip.interface { " on " (printable(interface)) }
                    @if let Some(note) = &vip.note { ": " (told(note, &ours)) }
                }
            }
            dt { "Hash key" }
            dd { "fingerprint " code { (printable(&status.key_fingerprint)) } }
        }
    }
}

/// Addresses of the configuration: all others in words may be a client's.
fn ours(status: &StatusView) -> HashSet<IpAddr> {
    let services = status.services.iter();
    let endpoints = services.clone().flat_map(|s| &s.endpoints);
    let reals = services.clone().flat_map(|s| &s.reals);
    let mut ours: HashSet<IpAddr> = endpoints.map(|e| e.ip()).collect();
    ours.extend(reals.map(|r| r.address));
    ours.extend(services.filter_map(|s| s.sorry));
    ours.extend(status.vips.iter().map(|v| v.vip));
    ours
}

/// Words from elsewhere, without the addresses of clients.
fn told(words: &str, ours: &HashSet<IpAddr>) -> String {
    let kept = |address| ours.contains(&address);
    let words = redact::addresses(words, |a| (!kept(a)).then(|| "(an address)".to_owned()));
    printable(&words).into_owned()
}
