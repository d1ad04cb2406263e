//! The picture of the tables: two groups of bars, in SVG.

use crate::figures::Figures;
use crate::rows::{self, Row};
use std::fmt::Write;

const WIDTH: f64 = 720.0;
const LEFT: f64 = 210.0;
const RIGHT: f64 = 90.0;
const BAR: f64 = 18.0;
const STEP: f64 = 26.0;
const TITLE: f64 = 44.0;

/// One bar: who, which figure, and whether it is lbd's.
struct Bar {
    name: &'static str,
    row: &'static Row,
    ours: bool,
}

const fn bar(name: &'static str, row: &'static Row, ours: bool) -> Bar {
    Bar { name, row, ours }
}

/// A group with a scale of its own.
struct Group {
    title: &'static str,
    axis: &'static str,
    bars: &'static [Bar],
}

static GROUPS: [Group; 2] = [
    Group {
        title: "Direct routing end to end over veth: more is better",
        axis: "million packets a second on one core (sockets: an echo's core and one that delivers)",
        bars: &[
            bar("bare XDP_TX", &rows::BARE_1K, false),
            bar("lbd xdp, 1,000 flows", &rows::NATIVE_1K, true),
            bar("lbd xdp, 1 million flows", &rows::NATIVE_1M, true),
            bar("lbd xdp, new flows only", &rows::NATIVE_NEW, true),
            bar("lbd xdp generic", &rows::GENERIC_1K, true),
            bar("nft netdev, jhash", &rows::NFT_1K, false),
            bar("bare AF_XDP", &rows::BARE_AF_XDP, false),
            bar("lbd af_xdp", &rows::LBD_AF_XDP, true),
            bar("bare AF_PACKET V3", &rows::BARE_PACKET, false),
            bar("lbd af_packet", &rows::LBD_PACKET, true),
        ],
    },
    Group {
        title: "What the XDP program costs over an empty one: less is better",
        axis: "nanoseconds a packet",
        bars: &[
            bar("1,000 flows", &rows::PROGRAM_1K, true),
            bar("1,000 flows, IPv6", &rows::PROGRAM_1K_V6, true),
            bar("1,000 services", &rows::PROGRAM_1000_SERVICES, true),
            bar("100,000 flows", &rows::PROGRAM_100K, true),
            bar("1 million flows", &rows::PROGRAM_1M, true),
            bar("10 million flows", &rows::PROGRAM_10M, true),
        ],
    },
];

/// Legible on light and on dark pages.
const STYLE: &str = "\
  text { font: 13px system-ui, sans-serif; fill: #1f2328 }
  .title { font-weight: 600 }
  .axis { font-size: 11px; fill: #59636e }
  .grid { stroke: #d1d9e0 }
  .ours { fill: #0969da }
  .others { fill: #9aa4ae }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc }
    .axis { fill: #9198a1 }
    .grid { stroke: #3d444d }
    .ours { fill: #4493f8 }
    .others { fill: #656c76 }
  }
";

/// The picture; nothing where a group has no figure at all.
pub fn draw(figures: &Figures) -> Option<String> {
    let mut body = String::new();
    let mut top = 0.0;
    for group in &GROUPS {
        let bars: Vec<(&Bar, f64)> = group
            .bars
            .iter()
            .filter_map(|bar| Some((bar, figures.median(bar.row)?)))
            .collect();
        if bars.is_empty() {
            return None;
        }
        top = draw_group(&mut body, group, &bars, top);
    }
    Some(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {top}\" role=\"img\" \
         aria-label=\"Rates of lbd's engines and their peers, and the cost of the XDP program\">\n\
         <style>\n{STYLE}</style>\n{body}</svg>\n"
    ))
}

/// Draws a group from `top` down, and returns where the next one begins.
fn draw_group(out: &mut String, group: &Group, bars: &[(&Bar, f64)], top: f64) -> f64 {
    let most = bars.iter().map(|(_, value)| *value).fold(0.0, f64::max);
    let (step, end) = scale(most);
    let x = |value: f64| LEFT + value / end * (WIDTH - LEFT - RIGHT);
    let first = top + TITLE;
    let bottom = first + STEP * bars.len() as f64;
    let _ = writeln!(
        out,
        "<text class=\"title\" x=\"12\" y=\"{}\">{}</text>",
        top + 24.0,
        group.title
    );
    let mut mark = 0.0;
    while mark <= end + step / 2.0 {
        let (at, digits) = (x(mark), usize::from(step < 1.0));
        let _ = writeln!(
            out,
            "<line class=\"grid\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{first}\" y2=\"{bottom}\"/>\
             <text class=\"axis\" x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{mark:.digits$}</text>",
            bottom + 15.0
        );
        mark += step;
    }
    let _ = writeln!(
        out,
        "<text class=\"axis\" x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
        (LEFT + WIDTH - RIGHT) / 2.0,
        bottom + 32.0,
        group.axis
    );
    for (nth, (bar, value)) in bars.iter().enumerate() {
        let y = first + STEP * nth as f64 + (STEP - BAR) / 2.0;
        let text = y + BAR - 4.5;
        let class = if bar.ours { "ours" } else { "others" };
        let (name, shown) = (bar.name, bar.row.show(*value));
        let _ = writeln!(
            out,
            "<text x=\"{}\" y=\"{text}\" text-anchor=\"end\">{name}</text>\
             <rect class=\"{class}\" x=\"{LEFT}\" y=\"{y}\" width=\"{:.1}\" height=\"{BAR}\"/>\
             <text x=\"{:.1}\" y=\"{text}\">{shown}</text>",
            LEFT - 10.0,
            (x(*value) - LEFT).max(0.0),
            x(*value).max(LEFT) + 6.0
        );
    }
    bottom + 48.0
}

/// Distance of an axis's marks and its end: 1, 2 or 5 times a power of ten, four to ten marks.
fn scale(most: f64) -> (f64, f64) {
    let most = most.max(1e-3);
    let power = 10_f64.powf((most / 10.0).log10().ceil());
    let step = [0.2, 0.5, 1.0]
        .into_iter()
        .map(|part| part * power)
        .find(|step| most / step <= 8.0)
        .unwrap_or(power * 2.0);
    (step, (most / step).ceil() * step)
}
