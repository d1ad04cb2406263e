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
    // With its title; long lines go on below.
    let height = |text: &Text<'_>| {
        let width = usize::from(area.width.max(1));
        let lines = text
            .lines
            .iter()
            .map(|line| line.width().div_ceil(width).max(1));
        match lines.sum::<usize>() {
            0 => 0,
            n => n as u16 + 1,
        }
    };
    let sparks = if area.height < LOW { 0 } else { 4 };
    let [head, spark, body, told, warned, logged, foot] = Layout::vertical([
        Constraint::Length(2),
        Constraint::Length(sparks),
        Constraint::Min(3),
        Constraint::Length(1),
        Constraint::Length(height(&warnings)),
        Constraint::Length(height(&log)),
        Constraint::Length(1),
    ])
    .areas(area);
    frame.render_widget(header(model, look), head);
    totals(frame, spark, model, look);
    self::table(frame, body, model, table, look);
    frame.render_widget(chosen(model, look), told);
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

/// A column of the table: from which width of the screen on it is there, and how wide it is.
struct Column {
    name: &'static str,
    from: u16,
    width: Constraint,
}

/// In this order; on a narrow screen the less telling ones go.
fn columns(rows: &[Row<'_>], screen: u16) -> Vec<Column> {
    let longest = rows.iter().map(|row| address(row).chars().count()).max();
    let address = longest.unwrap_or_default().clamp(15, 30) as u16;
    let column = |name, from, width| Column { name, from, width };
    let all = [
        column("STATE", 0, Constraint::Length(13)),
        column("SERVICE / REAL", 0, Constraint::Min(14)),
        column("ADDRESS", 78, Constraint::Length(address)),
        column("WEIGHT", 90, Constraint::Length(6)),
        column("FLOWS", 0, Constraint::Length(7)),
        column("NEW/s", 0, Constraint::Length(6)),
        column("PACKETS/s", 135, Constraint::Length(9)),
        column("FROM CLIENTS", 0, Constraint::Length(12)),
        column("TREND", 115, Constraint::Length(10)),
        column("WHY", 100, Constraint::Fill(2)),
    ];
    all.into_iter().filter(|c| c.from <= screen).collect()
}

fn table(frame: &mut Frame<'_>, area: Rect, model: &Model, state: &mut TableState, look: Look) {
    let rows = model.rows();
    state.select(model.cursor(&rows));
    let columns = columns(&rows, area.width);
    let lines = rows.iter().map(|row| line(row, &columns, model, look));
    let header = TableRow::new(columns.iter().map(|column| match is_number(column.name) {
        true => Cell::from(Text::from(column.name).alignment(Alignment::Right)),
        false => Cell::from(column.name),
    }));
    let table = Table::new(lines, columns.iter().map(|column| column.width))
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

/// The chosen line in words: why it is as it is, also where there is no room for a column.
fn chosen<'a>(model: &'a Model, look: Look) -> Line<'a> {
    let rows = model.rows();
    let Some(at) = model.cursor(&rows) else {
        return Line::default();
    };
    let Row { service, real } = rows[at];
    match real {
        Some(real) => {
            let (mark, style) = real_look(real.state, look);
            let since = human::ago(real.since.0, look.now);
            vec![
                Span::styled(
                    format!("{mark} {}/{}", safe(&service.name), safe(&real.name)),
                    style,
                ),
                format!(" is {} for {since}: {}", real.state, safe(&real.reason)).into(),
            ]
            .into()
        }
        None => {
            let (mark, style) = service_look(service.state, look);
            vec![
                Span::styled(format!("{mark} {}", safe(&service.name)), style),
                format!(" is {}: {}", service.state, safe(&service.state_reason)).into(),
            ]
            .into()
        }
    }
}

fn is_number(column: &str) -> bool {
    !matches!(
        column,
        "STATE" | "SERVICE / REAL" | "ADDRESS" | "TREND" | "WHY"
    )
}

fn line<'a>(row: &Row<'a>, columns: &[Column], model: &Model, look: Look) -> TableRow<'a> {
    let rate = row.rate(&model.rates);
    let right = |text: String| Cell::from(Text::from(text).alignment(Alignment::Right));
    let cell = |column: &Column| match column.name {
        "STATE" => state(row, look).into(),
        "SERVICE / REAL" => name(row).into(),
        "ADDRESS" => address(row).into(),
        "WEIGHT" => right(row.real.map_or_else(String::new, weight)),
        "FLOWS" => right(human::count(
            row.real.map_or(row.service.flows, |r| r.flows),
        )),
        "NEW/s" => right(or_dash(rate, |r| Some(human::rate(r.new_flows)))),
        "PACKETS/s" => right(or_dash(rate, |r| r.packets.map(human::rate))),
        "FROM CLIENTS" => right(or_dash(rate, |r| Some(human::bits(r.bits)))),
        "TREND" => {
            let trend = model.trends.get(&row.key());
            let bars = trend.map_or_else(String::new, |t| t.bars(10));
            Span::styled(bars, look.leaving()).into()
        }
        _ => Cell::from(safe(match row.real {
            Some(real) => &real.reason,
            None => &row.service.state_reason,
        })),
    };
    TableRow::new(columns.iter().map(cell))
}

fn state<'a>(row: &Row<'_>, look: Look) -> Span<'a> {
    match row.real {
        None => {
            let (mark, style) = service_look(row.service.state, look);
            Span::styled(format!("{mark} {}", row.service.state), style)
        }
        Some(real) => {
            let (mark, style) = real_look(real.state, look);
            Span::styled(format!("  {mark} {}", real.state), style)
        }
    }
}

fn name<'a>(row: &Row<'_>) -> Span<'a> {
    match row.real {
        None => Span::styled(safe(&row.service.name), Modifier::BOLD),
        Some(real) => Span::raw(format!("  {}", real_name(real))),
    }
}

fn address(row: &Row<'_>) -> String {
    let service = row.service;
    match (row.real, service.endpoints.as_slice()) {
        (Some(real), _) => place(real),
        (None, []) => String::new(),
        (None, [only]) => format!("{only}/{}", service.protocol),
        (None, [first, more @ ..]) => format!("{first}/{} +{}", service.protocol, more.len()),
    }
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
    Paragraph::new(text).block(block).wrap(Wrap { trim: false })
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
