//! One screen: is all well, and if not, what to do.

use super::page::{Field, Page, Tone, numbers, words};
use super::words::{self as say, several};
use super::{Look, human, maintenance};
use lbcore::api::{FramesView, ProxyView, RealView, ServiceView, StatusView, VipState, VipView};
use lbcore::config::{Announce, Mode};

/// Draws `lbctl status`.
pub fn status(view: &StatusView, page: &mut Page) {
    let (tone, ready) = if view.ready {
        (Tone::Good, "ready")
    } else {
        (Tone::Bad, "NOT READY")
    };
    page.toned_line(
        tone,
        &format!("lbd {} is {ready}: {}", view.version, view.ready_reason),
    );
    if let Some(begun) = &view.maintenance {
        let since = maintenance::since(begun, page.look.now);
        let text = format!("IN MAINTENANCE {since}; end it: lbctl maintenance off");
        page.toned_line(Tone::Bad, &text);
    }
    page.pairs(facts(view, &page.look.clone()));
    page.gap();
    if view.services.is_empty() {
        page.line(&format!(
            "no services: add one to {}, then: lbctl reload",
            view.config_file
        ));
    } else {
        services(view, page);
    }
    vips_in_trouble(view, page);
    drift(view, page);
    warnings(view, page);
}

fn facts(view: &StatusView, look: &Look) -> Vec<(&'static str, Field)> {
    let mut facts = vec![(
        "running",
        Field::from(format!(
            "for {}, revision {}, generation {}, key {}",
            human::ago(view.started.0, look.now),
            view.revision,
            view.generation,
            view.key_fingerprint,
        )),
    )];
    facts.push(("config", config(view, look)));
    for engine in &view.engines {
        let workers = several(engine.workers, "worker");
        let text = format!(
            "{} on {}, {workers}: {}",
            engine.name, engine.interface, engine.reason
        );
        facts.push(("engine", text.into()));
    }
    for interface in view
        .interfaces
        .iter()
        .filter(|interface| interface.state != "up")
    {
        let text = format!("{}: {}", interface.name, interface.state);
        facts.push(("interface", Field::toned(text, Tone::Bad)));
    }
    // Where all is proxied there are neither.
    if !view.interfaces.is_empty() {
        facts.push(("frames", frames(view)));
        facts.push(("flows", flows(view)));
    }
    facts.extend(proxied(view).map(|text| ("proxied", text)));
    if !view.vips.is_empty() {
        facts.push(("VIPs", vips(&view.vips)));
    }
    facts
}

fn config(view: &StatusView, look: &Look) -> Field {
    if view.last_good_in_use {
        let text = format!(
            "{} is bad, the last good configuration runs; lbctl config check shows every mistake",
            view.config_file
        );
        return Field::toned(text, Tone::Bad);
    }
    match &view.last_reload {
        None => view.config_file.as_str().into(),
        Some(reload) => {
            let ago = human::ago(reload.at.0, look.now);
            let (how, tone) = if reload.ok {
                ("reloaded", Tone::Plain)
            } else {
                ("reload REFUSED", Tone::Bad)
            };
            let text = format!("{}, {how} {ago} ago: {}", view.config_file, reload.message);
            Field::toned(text, tone)
        }
    }
}

fn frames(view: &StatusView) -> Field {
    let FramesView {
        received,
        sent,
        passed,
        ring_drops,
    } = view.frames;
    let reasons: Vec<String> = view
        .drops
        .iter()
        .filter(|(_, count)| **count > 0)
        .map(|(reason, count)| format!("{reason} {}", human::count(*count)))
        .collect();
    let dropped = human::count(view.drops.values().sum());
    let dropped = match reasons.is_empty() {
        true => format!("{dropped} dropped"),
        false => format!("{dropped} dropped ({})", reasons.join(", ")),
    };
    let mut text = format!(
        "{} received, {} sent on, {} left to this host, {dropped}",
        human::count(received),
        human::count(sent),
        human::count(passed),
    );
    if ring_drops > 0 {
        text.push_str(&format!(
            "; {} lost: receive ring full",
            human::count(ring_drops)
        ));
    }
    text.into()
}

/// From this share on, the flow table deserves a look: beyond it old flows are soon forgotten.
const NEARLY_FULL: f64 = 0.9;

fn flows(view: &StatusView) -> Field {
    let share = view.flow_entries as f64 / view.flow_capacity.max(1) as f64;
    let text = format!(
        "{} of {} ({:.0} %)",
        human::count(view.flow_entries),
        human::count(view.flow_capacity),
        share * 100.0
    );
    let tone = if share >= NEARLY_FULL {
        Tone::Bad
    } else {
        Tone::Plain
    };
    Field::toned(text, tone)
}

/// What the proxy has, of all services together.
fn proxied(view: &StatusView) -> Option<Field> {
    let proxies: Vec<_> = view.services.iter().flat_map(|s| &s.proxy).collect();
    let sum = |of: fn(&ProxyView) -> u64| proxies.iter().map(|p| of(p)).sum::<u64>();
    let text = format!(
        "{} connections, {} to reals, {} to clients",
        human::count(sum(|p| p.connections)),
        human::bytes(sum(|p| p.bytes_in)),
        human::bytes(sum(|p| p.bytes_out)),
    );
    (!proxies.is_empty()).then(|| text.into())
}

fn vips(vips: &[VipView]) -> Field {
    let states = [
        VipState::Announced,
        VipState::Owned,
        VipState::Probing,
        VipState::Conflict,
        VipState::Silent,
    ];
    let counts = states.iter().filter_map(|&state| {
        match vips.iter().filter(|vip| vip.state == state).count() {
            0 => None,
            n => Some(format!("{n} {}", state.word())),
        }
    });
    counts.collect::<Vec<_>>().join(", ").into()
}

fn services(view: &StatusView, page: &mut Page) {
    let look = page.look.clone();
    let mut columns = vec![
        words("  REAL"),
        words("ADDRESS"),
        words("STATE"),
        numbers("WEIGHT"),
        numbers("FLOWS"),
    ];
    if look.wide {
        columns.extend([numbers("NEW"), numbers("PACKETS"), numbers("BYTES")]);
    }
    columns.extend([words("SINCE"), words("REASON")]);
    let groups = view.services.iter().map(|service| {
        let reals = service.reals.iter().map(|real| real_row(real, &look));
        (heading(service, &look), reals.collect())
    });
    page.groups(&columns, groups.collect());
}

/// `web is degraded: 1 of 3 reals is down; 192.0.2.10:443/tcp, maglev, 1,234 flows`; a mode other
/// than dr stands before the scheduler.
fn heading(service: &ServiceView, look: &Look) -> Field {
    let ServiceView {
        name,
        state,
        state_reason,
        scheduler,
        ..
    } = service;
    let endpoints = say::endpoints(service, look);
    let flows = human::count(service.flows);
    let mode = match service.mode {
        Mode::Dr => String::new(),
        Mode::Tproxy => format!("{}, ", service.mode.word()),
    };
    let text =
        format!("{name} is {state}: {state_reason}; {endpoints}, {mode}{scheduler}, {flows} flows");
    say::service_state(*state).with_text(text)
}

fn real_row(real: &RealView, look: &Look) -> Vec<Field> {
    let mut row = vec![
        format!("  {}", say::real_name(real)).into(),
        say::real_place(real).into(),
        say::real_state(real.state),
        say::weight(real).into(),
        human::count(real.flows).into(),
    ];
    if look.wide {
        row.extend(traffic(real.new_flows, real.packets, real.bytes));
    }
    row.push(say::since(real, look).into());
    row.push(real.reason.as_str().into());
    row
}

/// The three counters of wide tables.
pub fn traffic(new_flows: u64, packets: Option<u64>, bytes: u64) -> [Field; 3] {
    [
        human::count(new_flows).into(),
        packets.map_or("-".into(), human::count).into(),
        human::bytes(bytes).into(),
    ]
}

fn vips_in_trouble(view: &StatusView, page: &mut Page) {
    let wanted = |vip: &&VipView| match vip.state {
        VipState::Announced | VipState::Owned => false,
        VipState::Conflict | VipState::Probing => true,
        VipState::Silent => vip.announce == Announce::Always,
    };
    let troubled: Vec<&VipView> = view.vips.iter().filter(wanted).collect();
    if troubled.is_empty() {
        return;
    }
    page.gap();
    for vip in troubled {
        let on = vip
            .interface
            .as_deref()
            .map_or(String::new(), |name| format!(" on {name}"));
        let note = vip
            .note
            .as_deref()
            .map_or(String::new(), |note| format!(": {note}"));
        page.toned_line(
            Tone::Bad,
            &format!("VIP {}: {}{on}{note}", vip.vip, vip.state),
        );
    }
}

fn drift(view: &StatusView, page: &mut Page) {
    if view.drift.is_empty() {
        return;
    }
    page.gap();
    page.line("runs differently from the file (changed by lbctl):");
    for drift in &view.drift {
        page.line(&format!(
            "  {}: {} (the file says {})",
            drift.key, drift.running, drift.file
        ));
    }
}

fn warnings(view: &StatusView, page: &mut Page) {
    page.gap();
    if view.warnings.is_empty() {
        page.line("no warnings");
        return;
    }
    for warning in &view.warnings {
        page.toned_line(Tone::Uneasy, &format!("warning: {warning}"));
    }
}
