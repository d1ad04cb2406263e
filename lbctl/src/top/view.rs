//! How `top` looks: the model drawn on a screen of any size.

use super::model::{Mode, Model};
use super::rows::Row;
use lbcore::api::{Rate, RealState, RealView, ServiceState, StatusView, printable};
use lbcore::human;
use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Margin, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span, Text};
use ratatui::widgets::{
    Block, Cell, Clear, Paragraph, Row as TableRow, Sparkline, Table, TableState, Wrap,
};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Warnings and log lines shown at once; the rest is in `lbctl status` and `lbctl events`.
const MOST_WARNINGS: usize = 4;
const MOST_LOGGED: usize = 4;

/// Below this height the sparklines of all services go, for the table.
const LOW: u16 = 20;

/// Below this width the less telling columns go.
const NARROW: u16 = 100;

/// How to draw.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// With colours; without, words, marks and bold tell all.
    pub color: bool,
    /// What times are counted back from.
    pub now: SystemTime,
}

impl Look {
    fn style(self, color: Color) -> Style {
        match self.color {
            true => Style::new().fg(color),
            false => Style::new(),
        }
    }

    fn good(self) -> Style {
        self.style(Color::Green)
    }

    fn uneasy(self) -> Style {
        self.style(Color::Yellow)
    }

    fn leaving(self) -> Style {
        self.style(Color::Blue)
    }

    fn bad(self) -> Style {
        self.style(Color::Red).add_modifier(Modifier::BOLD)
    }

    fn quiet(self) -> Style {
        match self.color {
            true => Style::new().fg(Color::DarkGray),
            false => Style::new().add_modifier(Modifier::DIM),
        }
    }
}

/// Draws everything. `table` keeps how far the table is scrolled.
pub fn draw(frame: &mut Frame<'_>, model: &Model, table: &mut TableState, look: Look) {
    let area = frame.area();
    let warnings = warnings(model, look);
    let log = log(model, look);
    let height = |text: &Text<'_>| match text.height() {
        0 => 0,
        n => n as u16 + 1,
    };
    let sparks = if area.height < LOW { 0 } else { 4 };
    let [head, spark, body, warned, logged, foot] = Layout::vertical([
        Constraint::Length(2),
        Constraint::Length(sparks),
        Constraint::Min(3),
        Constraint::Length(height(&warnings)),
        Constraint::Length(height(&log)),
        Constraint::Length(1),
    ])
    .areas(area);
    frame.render_widget(header(model, look), head);
    totals(frame, spark, model, look);
    self::table(frame, body, model, table, look);
    frame.render_widget(titled("warnings", warnings, look), warned);
    frame.render_widget(titled("done here", log, look), logged);
    frame.render_widget(footer(model, look), foot);
    match &model.mode {
        Mode::Confirm { action, words } => {
            let mut lines: Vec<Line<'_>> = words.iter().map(|w| safe(w).into()).collect();
            lines.push(Line::default());
            lines.push("y  do it     n  leave it as it is".into());
            window(frame, &format!("{action}?"), lines, look);
        }
        Mode::Weight {
            service,
            real,
            typed,
        } => {
            let lines = vec![
                format!("0 to 256; 0 means no new flows: {typed}_").into(),
                Line::default(),
                "Enter  go on     Esc  leave it as it is".into(),
            ];
            window(frame, &format!("weight of {service}/{real}"), lines, look);
        }
        Mode::Help => window(frame, "keys", help(), look),
        Mode::Look | Mode::Filter => {}
    }
}

fn safe(text: &str) -> String {
    printable(text).into_owned()
}

fn header<'a>(model: &'a Model, look: Look) -> Text<'a> {
    let mut lines = Vec::new();
    lines.push(match &model.status {
        None => Line::from("asking lbd ..."),
        Some(status) => summary(status, look),
    });
    lines.push(match &model.lost {
        None => Line::default(),
        Some((since, why)) => Line::styled(
            format!(
                "lbd does not answer for {}: {}; what you see is from before, trying again",
                human::ago(*since, look.now),
                safe(why)
            ),
            look.bad(),
        ),
    });
    lines.into()
}

fn summary(status: &StatusView, look: Look) -> Line<'static> {
    let ready = match status.ready {
        true => Span::styled("ready", look.good()),
        false => Span::styled(
            format!("NOT READY: {}", safe(&status.ready_reason)),
            look.bad(),
        ),
    };
    let worst = status
        .services
        .iter()
        .filter(|s| s.state != ServiceState::Up);
    let troubled = worst.count();
    let all = status.services.len();
    let services = match troubled {
        0 => Span::styled(format!("{all} services up"), look.good()),
        n => Span::styled(format!("{n} of {all} services not up"), look.bad()),
    };
    let rest = format!(
        ", revision {}, flows {} of {}",
        status.revision,
        human::count(status.flow_entries),
        human::count(status.flow_capacity)
    );
    vec![
        Span::styled(format!("lbd {}", safe(&status.version)), Modifier::BOLD),
        ", ".into(),
        ready,
        ", ".into(),
        services,
        rest.into(),
    ]
    .into()
}

fn totals(frame: &mut Frame<'_>, area: Rect, model: &Model, look: Look) {
    if area.height == 0 {
        return;
    }
    let columns = Layout::horizontal([Constraint::Fill(1); 3]).spacing(2);
    let total = model.rates.total();
    let known = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    let packets = known(total.and_then(|t| t.packets).map(human::rate));
    let bits = known(total.map(|t| human::bits(t.bits)));
    let new_flows = known(total.map(|t| human::rate(t.new_flows)));
    let parts = [
        (format!("{packets} packets/s"), &model.totals.packets),
        (format!("{bits} from clients"), &model.totals.bits),
        (format!("{new_flows} new flows/s"), &model.totals.new_flows),
    ];
    let areas: [Rect; 3] = columns.areas(area);
    for ((title, trend), area) in parts.into_iter().zip(areas) {
        let [top, bars, _] = Layout::vertical([
            Constraint::Length(1),
            Constraint::Length(2),
            Constraint::Length(1),
        ])
        .areas(area);
        frame.render_widget(Line::styled(title, Modifier::BOLD), top);
        let data = trend.last(bars.width.into());
        // The latest stands right, as in the table.
        let left = bars.width.saturating_sub(data.len() as u16);
        let bars = Rect {
            x: bars.x + left,
            width: bars.width - left,
            ..bars
        };
        frame.render_widget(Sparkline::default().data(data).style(look.leaving()), bars);
    }
}

fn table(frame: &mut Frame<'_>, area: Rect, model: &Model, state: &mut TableState, look: Look) {
    let rows = model.rows();
    state.select(model.cursor(&rows));
    let wide = area.width >= NARROW;
    let mut names = vec![
        "STATE",
        "SERVICE / REAL",
        "ADDRESS",
        "WEIGHT",
        "FLOWS",
        "NEW/s",
    ];
    let mut widths = vec![
        Constraint::Length(12),
        Constraint::Min(14),
        Constraint::Length(if wide { 22 } else { 16 }),
        Constraint::Length(7),
        Constraint::Length(9),
        Constraint::Length(7),
    ];
    if wide {
        names.push("PACKETS/s");
        widths.push(Constraint::Length(9));
    }
    names.extend(["FROM CLIENTS", "TREND"]);
    widths.extend([Constraint::Length(12), Constraint::Length(10)]);
    if wide {
        names.push("WHY");
        widths.push(Constraint::Fill(2));
    }
    let lines = rows.iter().map(|row| line(row, model, wide, look));
    let header = TableRow::new(names.iter().map(|name| match is_number(name) {
        true => Cell::from(Text::from(*name).alignment(Alignment::Right)),
        false => Cell::from(*name),
    }));
    let table = Table::new(lines, widths)
        .header(header.style(look.quiet()))
        .column_spacing(1)
        .row_highlight_style(Modifier::REVERSED);
    frame.render_stateful_widget(table, area, state);
    if rows.is_empty() && model.status.is_some() {
        let words = match model.filter.is_empty() {
            true => "no service is configured: lbctl service add, or the file and lbctl reload",
            false => "nothing has all these words: Esc shows everything again",
        };
        let below = area.inner(Margin::new(0, 1));
        frame.render_widget(Paragraph::new(words).style(look.quiet()), below);
    }
}

fn is_number(column: &str) -> bool {
    !matches!(
        column,
        "STATE" | "SERVICE / REAL" | "ADDRESS" | "TREND" | "WHY"
    )
}

fn line<'a>(row: &Row<'a>, model: &Model, wide: bool, look: Look) -> TableRow<'a> {
    let service = row.service;
    let rate = row.rate(&model.rates);
    let trend = model.trends.get(&row.key());
    let right = |text: String| Cell::from(Text::from(text).alignment(Alignment::Right));
    let (state, name, address, weight, flows, why) = match row.real {
        None => {
            let (mark, style) = service_look(service.state, look);
            let first = service.endpoints.first();
            let address = first.map_or(String::new(), |e| format!("{e}/{}", service.protocol));
            let more = service.endpoints.len().saturating_sub(1);
            let address = match more {
                0 => address,
                n => format!("{address} +{n}"),
            };
            (
                Span::styled(format!("{mark} {}", service.state), style),
                Span::styled(safe(&service.name), Modifier::BOLD),
                address,
                service.scheduler.to_string(),
                service.flows,
                safe(&service.state_reason),
            )
        }
        Some(real) => {
            let (mark, style) = real_look(real.state, look);
            (
                Span::styled(format!("  {mark} {}", real.state), style),
                format!("  {}", real_name(real)).into(),
                place(real),
                weight(real),
                real.flows,
                safe(&real.reason),
            )
        }
    };
    let mut cells = vec![
        Cell::from(state),
        Cell::from(name),
        Cell::from(address),
        right(weight),
        right(human::count(flows)),
        right(or_dash(rate, |r| Some(human::rate(r.new_flows)))),
    ];
    if wide {
        cells.push(right(or_dash(rate, |r| r.packets.map(human::rate))));
    }
    cells.push(right(or_dash(rate, |r| Some(human::bits(r.bits)))));
    let bars = trend.map_or(String::new(), |t| t.bars(10));
    cells.push(Cell::from(Span::styled(bars, look.leaving())));
    if wide {
        cells.push(Cell::from(why));
    }
    TableRow::new(cells)
}

fn or_dash(rate: Option<Rate>, of: impl Fn(Rate) -> Option<String>) -> String {
    rate.and_then(of).unwrap_or_else(|| "-".to_owned())
}

fn real_name(real: &RealView) -> String {
    let name = safe(&real.name);
    match (real.removed, real.backup) {
        (true, _) => format!("{name} (removed)"),
        (_, true) => format!("{name} (backup)"),
        _ => name,
    }
}

fn place(real: &RealView) -> String {
    match real.dial.and_then(|dial| dial.port) {
        Some(port) => std::net::SocketAddr::new(real.address, port).to_string(),
        None => real.address.to_string(),
    }
}

fn weight(real: &RealView) -> String {
    match real.effective_weight {
        now if real.state.serves() && now != real.weight => format!("{}>{now}", real.weight),
        _ => real.weight.to_string(),
    }
}

fn service_look(state: ServiceState, look: Look) -> (&'static str, Style) {
    match state {
        ServiceState::Up => ("●", look.good()),
        ServiceState::Degraded => ("▲", look.uneasy()),
        ServiceState::Panic => ("◆", look.bad()),
        ServiceState::Down => ("✖", look.bad()),
    }
}

fn real_look(state: RealState, look: Look) -> (&'static str, Style) {
    match state {
        RealState::Up => ("●", look.good()),
        RealState::Checking => ("◌", look.uneasy()),
        RealState::Unchecked => ("○", look.uneasy()),
        RealState::Draining => ("▼", look.leaving()),
        RealState::Down => ("✖", look.bad()),
        RealState::Disabled => ("–", look.quiet()),
    }
}

fn warnings(model: &Model, look: Look) -> Text<'static> {
    let warnings = model.status.iter().flat_map(|s| &s.warnings);
    let all = warnings.clone().count();
    let mut lines: Vec<Line<'static>> = warnings
        .take(MOST_WARNINGS)
        .map(|warning| Line::styled(safe(warning), look.uneasy()))
        .collect();
    if all > MOST_WARNINGS {
        let more = format!("and {} more: lbctl status", all - MOST_WARNINGS);
        lines.push(Line::styled(more, look.quiet()));
    }
    lines.into()
}

fn log(model: &Model, look: Look) -> Text<'static> {
    let skipped = model.log.len().saturating_sub(MOST_LOGGED);
    let lines = model.log.iter().skip(skipped).map(|entry| {
        let words = format!("{} {}", time_of_day(entry.at), safe(&entry.words));
        let style = if entry.ok { Style::new() } else { look.bad() };
        Line::styled(words, style)
    });
    lines.collect::<Vec<_>>().into()
}

/// `20:41:07`, in UTC as in the log of lbd.
fn time_of_day(at: SystemTime) -> String {
    let second = at
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO)
        .as_secs()
        % 86_400;
    format!(
        "{:02}:{:02}:{:02}",
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

fn titled<'a>(title: &'a str, text: Text<'a>, look: Look) -> Paragraph<'a> {
    let block = Block::new().title(Line::styled(title, look.quiet()));
    Paragraph::new(text).block(block)
}

fn footer<'a>(model: &'a Model, look: Look) -> Line<'a> {
    let filter = safe(&model.filter);
    match &model.mode {
        Mode::Filter => format!("filter: {filter}_   Enter keeps it, Esc shows everything").into(),
        _ if !filter.is_empty() => Line::styled(
            format!(
                "filter: {filter} (Esc ends it)   order: {}   ? help  q quit",
                model.order.word()
            ),
            look.quiet(),
        ),
        _ => Line::styled(
            format!(
                "d drain  e enable  x disable  w weight   / filter  s order: {}   ? help  q quit",
                model.order.word()
            ),
            look.quiet(),
        ),
    }
}

fn help() -> Vec<Line<'static>> {
    [
        "up, down, page up, page down, home, end (or k, j)   choose a line",
        "d   drain the real: no new flows, old ones finish",
        "e   enable it again",
        "x   disable it: its flows are treated as after its death, at once",
        "w   give it another weight",
        "    each of these says first what it will do, and asks",
        "/   show only lines with all these words (name, address, state, reason)",
        "s   order: as in the file, trouble first, flows, bits, new flows, name",
        "Esc ends the filter     q  quit",
        "",
        "● up  ▲ degraded  ▼ draining  ✖ down  ◆ panic  ◌ checking  ○ unchecked  – disabled",
        "Changes are made as by lbctl real drain, enable, disable and set.",
        "",
        "any key closes this",
    ]
    .into_iter()
    .map(Line::from)
    .collect()
}

/// A window over the middle of the screen.
fn window(frame: &mut Frame<'_>, title: &str, lines: Vec<Line<'_>>, look: Look) {
    let screen = frame.area();
    let widths: Vec<usize> = lines.iter().map(Line::width).collect();
    let widest = widths.iter().copied().max().unwrap_or_default();
    let width = (widest.max(title.len()) as u16)
        .saturating_add(6)
        .min(screen.width);
    let text = Paragraph::new(lines).wrap(Wrap { trim: false });
    let inner = usize::from(width.saturating_sub(4).max(1));
    let lines = widths.into_iter().map(|width| width.div_ceil(inner).max(1));
    let height = (lines.sum::<usize>() as u16)
        .saturating_add(2)
        .min(screen.height);
    let area = Rect {
        x: (screen.width - width) / 2,
        y: (screen.height - height) / 2,
        width,
        height,
    };
    let title = Line::styled(format!(" {} ", safe(title)), Modifier::BOLD);
    let block = Block::bordered().title(title).border_style(look.quiet());
    frame.render_widget(Clear, area);
    let inside = block.inner(area).inner(Margin::new(1, 0));
    frame.render_widget(block, area);
    frame.render_widget(text, inside);
}
